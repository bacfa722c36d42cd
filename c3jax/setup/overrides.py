"""Fields of a config as they are given on a command line, --config.NAME=VALUE."""

import difflib
import functools
import operator
import pathlib
import re
from collections.abc import Iterator

import ml_collections

from c3jax.setup import defaults, fields
from c3jax.setup.fields import Field, Section

_FLAG = re.compile(r"--?config\.([\w.\[\]]+)=(.*)", re.DOTALL)


def declared(name: str) -> Field | Section | None:
    """The declaration of a field, of a run, a comparison or an audit; None if none."""
    if (found := re.match(r"base\.|methods\.\w+\.", name)) is not None:
        name = name[found.end() :]
    for page in (defaults.EXPERIMENT, defaults.COMPARISON, defaults.AUDIT):
        place: Field | Section | None = page
        for part in name.split("."):
            place = place.of({}).get(part) if isinstance(place, Section) else None
        if place is not None:
            return place
    return None


def given(argv: list[str]) -> Iterator[tuple[str, str]]:
    """(field, text) of every flag that sets a field."""
    for flag in argv:
        if found := _FLAG.fullmatch(flag):
            yield found[1], found[2]


def without_none(argv: list[str]) -> tuple[list[str], list[str]]:
    """A command line without the flags that set a field to None; and those fields.

    Flags are read by the type of a field's value, and None has none. A field of text
    that cannot be None takes the word as it is.
    """
    found = {flag: _set_to_none(flag) for flag in argv}
    return [f for f in argv if not found[f]], [found[f] for f in argv if found[f]]


def _set_to_none(flag: str) -> str:
    """The field that a flag sets to None; "" for none."""
    for name, text in given([flag]):
        if text == "None" and not _is_text(declared(name)):
            return name
    return ""


def _is_text(field: Field | Section | None) -> bool:
    return (
        isinstance(field, Field)
        and field.domain.kind is str
        and not field.domain.optional
    )


def set_none(config: ml_collections.ConfigDict, names: list[str]) -> None:
    """Sets fields to None, in place.

    Raises:
        ValueError: a field that there is not.
    """
    for name in names:
        if not has(config, name):
            raise ValueError(unknown(name, config))
        *sections, last = name.split(".")
        place = functools.reduce(operator.getitem, sections, config)
        with place.ignore_type(), place.unlocked():
            place[last] = None


def has(config: ml_collections.ConfigDict, name: str) -> bool:
    """Whether a config has a field, or a section."""
    place = config
    for part in name.split("."):
        if not isinstance(place, ml_collections.ConfigDict) or part not in place:
            return False
        place = place[part]
    return True


def expand_home(config: ml_collections.ConfigDict) -> None:
    """Puts the home directory for ~ in texts that begin with ~/, in place."""
    with config.unlocked():
        for name, value in config.items():
            if isinstance(value, ml_collections.ConfigDict):
                expand_home(value)
            elif (expanded := _expanded(value)) != value:
                config[name] = expanded


def _expanded(value):
    if isinstance(value, tuple):
        return tuple(map(_expanded, value))
    is_home = isinstance(value, str) and value.startswith("~/")
    return str(pathlib.Path(value).expanduser()) if is_home else value


def refusal(name: str, text: str) -> str:
    """What to say of a value that a field's type cannot be read from."""
    field = declared(name)
    if isinstance(field, Section):
        example = next(iter(field.of({})), "...")
        return f"{name} is a section; name a field of it, such as {name}.{example}."
    wanted = f": it must be {field.domain}" if field and str(field.domain) else ""
    return f"{name}={text}{wanted}."


def unknown(name: str, config: ml_collections.ConfigDict) -> str:
    """What to say of a field that a config has not: the nearest that it has."""
    # The likeliest, if they are like it at all.
    known = [line.name for line in fields.lines(defaults.declared(config), config)]
    near = sorted(known, key=lambda other: -_likeness(name, other))[:3]
    near = [other for other in near if _likeness(name, other) > _LIKE]
    said = f"the config has no field {name!r}"
    if near:
        return f"{said}; did you mean {' or '.join(near)}?"

    # Else what there is in its section.
    section = name.rpartition(".")[0]
    while section and not has(config, section):
        section = section.rpartition(".")[0]
    place = functools.reduce(operator.getitem, filter(None, section.split(".")), config)
    if not isinstance(place, ml_collections.ConfigDict):
        return f"{said}; {section} is no section."
    return f"{said}; {section or 'it'} has {', '.join(place)}."


_LIKE = 0.75


def _likeness(name: str, other: str) -> float:
    """How alike two fields are: their last words, their initials, their sections."""
    (*where, a), (*there, b) = name.split("."), other.split(".")
    initials = "".join(word[:1] for word in a.split("_"))
    words, others = {*a.split("_")}, {*b.split("_")}
    alike = difflib.SequenceMatcher(None, a, b).ratio()
    if initials == b or (others <= words or words <= others):
        alike = max(alike, 0.8)
    sections = difflib.SequenceMatcher(None, ".".join(where), ".".join(there))
    return alike + 0.1 * sections.ratio()
