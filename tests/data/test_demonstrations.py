import pathlib

import pytest

from c3jax.data import demonstrations
from tests.data import layout

ROLES = ("reasoner", "actor")
GOOD = {
    "question": "2 + 3?",
    "answer": "5",
    "messages": {"reasoner": "2 + 3 = 5", "actor": "It is 5."},
}


def read(tmp_path, *rows):
    path = pathlib.Path(layout.jsonl(tmp_path / "own.jsonl", rows))
    return demonstrations.read(path, ROLES)


def test_a_demonstration_is_a_question_with_a_message_of_every_role(tmp_path):
    _, second = read(tmp_path, GOOD, GOOD)
    assert (second.uid, second.text, second.answer) == (1, "2 + 3?", "5")
    assert second.id.endswith("own.jsonl, line 2")
    assert second.messages == GOOD["messages"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"messages": {**GOOD["messages"], "judge": "5"}}, "has a role 'judge'; it mu"),
        ({"messages": {"actor": "It is 5."}}, "lacks 'reasoner'; it must hold"),
        ({"messages": {**GOOD["messages"], "actor": " "}}, "has ' ' for 'actor'"),
        ({"messages": {**GOOD["messages"], "actor": 5}}, "has 5 for 'actor'"),
        ({"messages": ["5"]}, "it must be an object"),
        ({"question": ""}, "'question' is empty"),
    ],
)
def test_a_malformed_one_is_refused_with_its_file_and_line(tmp_path, row, told):
    with pytest.raises(ValueError, match=rf"own.jsonl, line 2: field .*{told}"):
        read(tmp_path, GOOD, {**GOOD, **row})
