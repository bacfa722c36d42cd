"""Every field of a run, with values that it cannot have: a sentence, no traceback."""

import pytest

from c3jax.setup import defaults, experiment, fields
from tests import support

WRONG = ("x", -1, 10**30, None)


def refusal(name, value) -> str:
    """The sentence that refuses a value; "" if it is taken."""
    config = support.page_config().copy_and_resolve_references()
    *sections, last = name.split(".")
    place = config
    for section in sections:
        place = place[section]
    with place.ignore_type(), place.unlocked():
        place[last] = value
    try:
        experiment.resolve(config.lock())
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_no_wrong_value_of_any_field_is_a_traceback():
    lines = fields.lines(defaults.EXPERIMENT, support.page_config())
    assert len(lines) > 150
    for line in lines:
        said = [refusal(line.name, value) for value in WRONG]
        if line.field.domain.kind in (int, float, bool):
            assert sum(map(bool, said)) >= 2, line.name


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("max_tokens", "x", "a whole number"),
        ("instruction", 3, "text"),
        ("answers", 1, "True or False"),
        ("depends_on", "reasoner", "a tuple, ('reasoner',)"),
        ("depends_on", None, "a tuple"),
    ],
)
def test_a_field_of_a_role_has_the_type_of_its_default(field, value, wanted):
    said = refusal(f"teams.duo.actor.{field}", value)
    assert said == f"teams.duo.actor.{field}={value!r}: it must be {wanted}."
