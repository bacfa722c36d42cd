"""Fields of a config: what each is by default, what it may be, and what it is for.

A declaration is data, in `defaults`. From it come the config that a page begins with,
the refusals, the tables of the documentation and how a saved config is read.
"""

import dataclasses
import datetime
import functools
import math
import numbers
import types
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import ml_collections
from ml_collections import config_dict

from c3jax.core import checks

# Types of values, in words.
_NOUNS = {
    int: "a whole number",
    float: "a finite number",
    bool: "True or False",
    str: "text",
    tuple: "a tuple",
    object: "",
}


@dataclasses.dataclass(frozen=True)
class Domain:
    """What a value may be.

    Attributes:
        kind: type that a flag reads; object where there are several.
        limits: of the values of that type, in words; "" for none.
        fits: value of that type -> whether it is within the limits.
        names: the only texts that it may be; () for any.
        each: what the entries of a tuple may be.
        optional: whether it may be None.
        infinite: whether a number may be infinite.
    """

    kind: type
    limits: str = ""
    fits: Callable[[object], bool] = lambda value: True
    names: Collection[str] = ()
    each: "Domain | None" = None
    optional: bool = False
    infinite: bool = False

    def __str__(self) -> str:
        noun = "a number" if self.infinite else _NOUNS[self.kind]
        if self.names:
            found = "one of " + ", ".join(map(repr, self.names))
        elif self.each:
            found = f"a tuple, each {self.each}"
        elif self.kind is str and self.limits:
            found = self.limits
        else:
            found = ", ".join(part for part in (noun, self.limits) if part)
        return f"{found}, or None" if self.optional else found

    def is_kind(self, value) -> bool:
        """Whether a value is of the type; True and False are no numbers."""
        match self.kind.__name__:
            case "int":
                return isinstance(value, numbers.Integral) and not self._is_bool(value)
            case "float":
                if not isinstance(value, numbers.Real) or self._is_bool(value):
                    return False
                return math.isfinite(value) or (self.infinite and value == math.inf)
            case "tuple":  # A saved config has lists.
                return isinstance(value, tuple | list)
        return isinstance(value, self.kind)

    @staticmethod
    def _is_bool(value) -> bool:
        return isinstance(value, bool)


ANY, TEXT, SWITCH = Domain(object), Domain(str), Domain(bool)


def number(
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    *,
    kind: type = float,
    infinite: bool = False,
) -> Domain:
    """Numbers above one, or from one on, and up to another, where these are given."""
    if least is not None and most is not None:
        limits = f"between {least} and {most}"
    elif least is not None:
        limits = f"{least} or more"
    else:
        limits = "" if above is None else f"above {above}"
        limits += "" if most is None else f", up to {most}"

    def fits(value) -> bool:
        return (
            (above is None or value > above)
            and (least is None or value >= least)
            and (most is None or value <= most)
        )

    return Domain(kind, limits, fits, infinite=infinite)


def whole(above: int | None = None, least: int | None = None) -> Domain:
    """Whole numbers above one, or from one on."""
    return number(above, least, kind=int)


def one_of(names: Collection[str]) -> Domain:
    """One of some texts, such as the keys of a table."""
    return Domain(str, names=tuple(names))


def several(each: Domain) -> Domain:
    """A tuple of such values."""
    return Domain(tuple, each=each)


def is_date(text: str) -> bool:
    """Whether a text is a day of the calendar, as ISO 8601 writes it."""
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def optional(domain: Domain) -> Domain:
    """Such a value, or None."""
    return dataclasses.replace(domain, optional=True)


class Field(NamedTuple):
    """One field: its default, what it may be, and what it is, in a line."""

    default: object
    domain: Domain
    doc: str


@dataclasses.dataclass(frozen=True)
class Section:
    """Some fields under one name.

    Attributes:
        doc: what they are about, in a line.
        fields: by name, other sections, too; or what finds them, given a section whose
            fields depend on what is in it.
        open: whether somebody else refuses what cannot be in it.
    """

    doc: str
    fields: "Fields | Callable[[Mapping], Fields]"
    open: bool = False

    def of(self, given: Mapping) -> "Fields":
        """The fields that a given section should have; of {}, by default."""
        return self.fields(given) if callable(self.fields) else self.fields


Fields = Mapping[str, Field | Section]


def section(doc: str, /, **fields: Field | Section) -> Section:
    """A section whose fields are always the same, and refused here."""
    return Section(doc, fields)


def config(section: Section) -> ml_collections.ConfigDict:
    """All fields at their defaults; where that is None, of the type they may have."""
    made = ml_collections.ConfigDict()
    for name, field in section.of({}).items():
        if isinstance(field, Section):
            made[name] = config(field)
        elif field.default is None:
            made[name] = config_dict.placeholder(field.domain.kind)
        else:
            made[name] = field.default
    return made


def check(given, section: Section, name: str = "") -> None:
    """Refuses what a section cannot be.

    Args:
        given: of a config.
        section: what it should be.
        name: by which the config knows it; "" for the config itself.

    Raises:
        ValueError: a field that nobody reads, one that is missing, or a value that it
            cannot have.
    """
    # Options of a method or a file of the user's own: they know what they read.
    if section.open:
        return
    wanted = section.of(given)
    checks.only_keys(given, wanted, name or "config")
    for key, field in wanted.items():
        where = f"{name}.{key}" if name else key
        if not isinstance(field, Section):
            check_value(given[key], field.domain, where)
        elif isinstance(given[key], Mapping | ml_collections.ConfigDict):
            check(given[key], field, where)
        else:
            checks.require(False, where, given[key], "a section with fields")


def check_value(value, domain: Domain, name: str) -> None:
    """Refuses a value that a field cannot have.

    Raises:
        ValueError: names the field.
    """
    if value is None and domain.optional:
        return
    # A name gets the nearest ones as a suggestion.
    if domain.names:
        checks.pick(dict.fromkeys(domain.names), value, name)
        return
    said = str(domain)
    # ("tom") is a text in Python, and a flag may have it so.
    if domain.kind is tuple and isinstance(value, str):
        said = f"a tuple, ({value!r},)"
    checks.require(domain.is_kind(value), name, value, said)
    if domain.each:
        for each in value:
            check_value(each, domain.each, name)
        return
    said = f"{domain.limits}, or None" if domain.optional else domain.limits
    checks.require(domain.fits(value), name, value, said)


class Line(NamedTuple):
    """A field as it is told.

    Attributes:
        name: with its sections.
        value: in some config, or by default.
        field: as it is declared.
    """

    name: str
    value: object
    field: Field


def lines(section: Section, given: Mapping, name: str = "") -> list[Line]:
    """Every field of a section, those of its sections in their place.

    Args:
        section: what is declared.
        given: some config's; what it has beside that is told, too.
        name: of the section, "" for a config.
    """
    found, wanted = [], section.of(given)
    for key in [*wanted, *(key for key in given if key not in wanted)]:
        where = f"{name}.{key}" if name else key
        field = wanted.get(key, Field(None, ANY, ""))
        value = given.get(key)
        # What a config has beside what is declared is shown as well.
        if isinstance(value, Mapping | ml_collections.ConfigDict):
            inner = field if isinstance(field, Section) else Section("", {}, open=True)
            found += lines(inner, value, where)
        elif not isinstance(field, Section):
            found.append(Line(where, value, field))
    return found


def saved(
    given: Mapping,
    section: Section,
    renamed: Mapping[str, str],
    earlier: Mapping[str, object] = types.MappingProxyType({}),
) -> tuple[dict, list[str]]:
    """A config that an earlier version saved, as this one has it.

    Args:
        given: as it was saved.
        section: what a config is now.
        renamed, earlier: see `with_new_names`.

    Returns:
        The config, and what was changed: `name=value` of fields that it did not have.

    Raises:
        ValueError: it has a field that there is no more.
    """
    given, told = with_new_names(given, renamed, earlier)
    return _completed(given, section, "", told), told


def with_new_names(
    given: Mapping,
    renamed: Mapping[str, str],
    earlier: Mapping[str, object] = types.MappingProxyType({}),
) -> tuple[dict, list[str]]:
    """A saved config with fields called as they are now, and what was changed.

    Args:
        given: as it was saved, of a run or a comparison.
        renamed: old name with sections to new, or of one value `name=old` to
            `name=new`.
        earlier: values of fields that it may lack, if these are not the defaults.
    """
    made, told = _copied(given), []
    for name, value in earlier.items():
        section, _, key = name.rpartition(".")
        for place in (made, made.get("base", {})):
            if _holds(place, section) and not _holds(place, name):
                functools.reduce(dict.get, section.split("."), place)[key] = value
                told.append(f"{name}={value!r}")
    places = (made, made.get("base", {}), *made.get("methods", {}).values())
    for old, new in renamed.items():
        told += [_renamed(place, old, new) for place in places if _holds(place, old)]
    return made, told


def _holds(place: Mapping, old: str) -> bool:
    """Whether a field is there or, of `name=value`, has that value."""
    name, _, value = old.partition("=")
    for key in name.split("."):
        if not isinstance(place, Mapping) or key not in place:
            return False
        place = place[key]
    return not value or place == value


def _renamed(place: dict, old: str, new: str) -> str:
    """Renames a field that is there, or its value, in place; says what it is now."""
    (name, _, _), (fresh, _, value) = old.partition("="), new.partition("=")
    *sections, key = name.split(".")
    value = value or functools.reduce(dict.get, sections, place).pop(key)
    *sections, key = fresh.split(".")
    for section in sections:
        place = place.setdefault(section, {})
    place[key] = value
    return f"{fresh}={value!r}, which was {old}"


def _copied(given: Mapping) -> dict:
    return {k: _copied(v) if isinstance(v, Mapping) else v for k, v in given.items()}


def _completed(given: dict, section: Section, name: str, told: list[str]) -> dict:
    """`given` with what it does not have; adds to `told` what that is."""
    wanted, made = section.of(given), dict(given)
    if not section.open and (gone := sorted(given.keys() - wanted.keys())):
        where = f"{name}.{gone[0]}" if name else gone[0]
        raise ValueError(
            f"{where}={given[gone[0]]!r} was saved by another version, and nobody "
            "reads it in this one; take the version that made the run."
        )
    for key, field in wanted.items():
        where = f"{name}.{key}" if name else key
        if isinstance(field, Section):
            made[key] = _completed(given.get(key, {}), field, where, told)
        elif key not in given:
            made[key] = field.default
            told.append(f"{where}={field.default!r}")
    return made
