"""Fields of a config as they are given on a command line, --config.NAME=VALUE."""

import difflib
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
    found = {}
    for flag in argv:
        (name, text), *_ = [*given([flag]), ("", "")]
        found[flag] = name if text == "None" and not _is_text(declared(name)) else ""
    kept = [flag for flag in argv if not found[flag]]
    return kept, [name for flag in argv if (name := found[flag])]


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
        *sections, last = name.split(".")
        place = config
        for part in sections:
            place = place.get(part, {}) if hasattr(place, "get") else {}

        # Checked by hand, as types are ignored below.
        if last not in place:
            raise ValueError(unknown(name))
        with place.ignore_type(), place.unlocked():
            place[last] = None


def expand_home(config: ml_collections.ConfigDict) -> None:
    """Puts the home directory for ~ in texts that begin with ~/, in place."""
    with config.unlocked():
        for name, value in config.items():
            if isinstance(value, ml_collections.ConfigDict):
                expand_home(value)
            elif isinstance(value, tuple):
                config[name] = tuple(map(_expanded, value))
            else:
                config[name] = _expanded(value)


def _expanded(value):
    if isinstance(value, str) and value.startswith("~/"):
        return str(pathlib.Path(value).expanduser())
    return value


def refusal(name: str, text: str) -> str:
    """What to say of a value that a field's type cannot be read from."""
    field = declared(name)
    if isinstance(field, Section):
        example = next(iter(field.of({})), "...")
        return f"{name} is a section; name a field of it, such as {name}.{example}."
    wanted = f": it must be {field.domain}" if field and str(field.domain) else ""
    return f"{name}={text}{wanted}."


def unknown(name: str) -> str:
    """What to say of a field that there is not: the nearest that there are."""

    # The likeliest, if they are like it at all.
    known = [line.name for line in fields.lines(defaults.EXPERIMENT, _SHOWN)]
    near = sorted(known, key=lambda other: -_likeness(name, other))[:3]
    near = [other for other in near if _likeness(name, other) > _LIKE]
    said = f"the config has no field {name!r}"
    if near:
        return f"{said}; did you mean {' or '.join(near)}?"

    # Else what there is in its section.
    section, place = name.partition(".")[0], defaults.EXPERIMENT.fields
    inside = place.get(section)
    if isinstance(inside, Section) and inside.of({}):
        return f"{said}; {section} has {', '.join(inside.of({}))}."
    return f"{said}; it has {', '.join(place)}."


_SHOWN, _LIKE = defaults.experiment(), 0.75


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
