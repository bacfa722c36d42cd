"""Questions of the user's own."""

import gzip
import json

import pytest

from c3jax.core.types import Rules
from c3jax.data import own, rows
from tests.data import layout

ROWS = [
    {"question": " What is 2+3? ", "answer": "5"},
    {"question": "你好？", "answer": "1"},
]


def read(path, first=0, programs=False, **fields):
    named = {**own.FIELDS, **fields}
    return own.read(path, own.Reading(named, programs, Rules(percent=True)), first)


def lines(path, *texts):
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def test_questions_may_be_lines_of_json_a_list_a_table_or_parquet(tmp_path):
    table = "question,answer\n What is 2+3? ,5\n\n你好？,1\n"
    made = {
        "jsonl": layout.jsonl(tmp_path / "mine.jsonl", ROWS).read_bytes(),
        "json": json.dumps(ROWS).encode("utf-8-sig"),
        "csv": table.encode("utf-8-sig"),
    }
    for ending, text in [*made.items()]:
        made[f"{ending}.gz"] = gzip.compress(text)
    made["parquet"] = layout.parquet(tmp_path / "mine.parquet", ROWS).read_bytes()
    assert {*rows.ENDINGS} == {f".{ending}" for ending in made}
    for ending, text in made.items():
        path = tmp_path / f"mine.{ending}"
        path.write_bytes(text)
        found = read(path, first=7)
        assert [item.uid for item in found] == [7, 8]
        assert found[0].id == f"mine.{ending}/{2 if 'csv' in ending else 1}"
        assert [(x.text, x.answer) for x in found] == [
            ("What is 2+3?", "5"),
            ("你好？", "1"),
        ]
        assert found[0].rules == Rules(percent=True)


@pytest.mark.parametrize(
    "number", ["18", "2.5", "2.50", "-0.0", "1e3", "1E-7", "12345678901234567890123"]
)
def test_a_number_as_answer_is_what_the_file_spells(tmp_path, number):
    path = lines(tmp_path / "a.jsonl", f'{{"question": "a?", "answer": {number}}}')
    table = lines(tmp_path / "a.json", f'[{{"question": "a?", "answer": {number}}}]')
    assert [read(p)[0].answer for p in (path, table)] == [number] * 2


def test_numbers_of_parquet_have_the_fewest_digits(tmp_path):
    import pyarrow
    from pyarrow import parquet

    values = [0.1, 2.5, 1e22]
    of = {"short": pyarrow.float32(), "long": pyarrow.float64()}
    columns = {name: pyarrow.array(values, kind) for name, kind in of.items()}
    inner = pyarrow.StructArray.from_arrays([columns["short"]], ["gold"])
    names = {"question": ["a?", "b?", "c?"], "whole": [7, 8, 9], "in": inner}
    parquet.write_table(pyarrow.table({**columns, **names}), tmp_path / "a.parquet")

    def answers(name):
        return [x.answer for x in read(tmp_path / "a.parquet", answer=name)]

    assert answers("whole") == ["7", "8", "9"]
    assert answers("long") == ["0.1", "2.5", "1" + "0" * 22]
    assert answers("short") == answers("in.gold") == ["0.1", "2.5", "1" + "0" * 22]


def test_fields_may_have_other_names(tmp_path):
    row = {"q": "Double it.", "tests": "assert f(1) == 2", "name": 17, "call": "f"}
    path = layout.jsonl(tmp_path / "mine.jsonl", [row])
    names = dict(question="q", answer="tests", id="name", entry_point="call")
    (item,) = read(path, programs=True, **names)
    assert (item.id, item.entry_point) == ("17", "f")
    assert item.answer == "assert f(1) == 2"


def test_a_name_with_dots_is_a_field_within_another_unless_it_is_a_key(tmp_path):
    row = {
        "prompt": [{"role": "user", "content": "a?"}],
        "reward_model": {"ground_truth": 12, "b.c": {"d": "3"}},
    }
    path = layout.jsonl(tmp_path / "mine.jsonl", [row])
    (item,) = read(
        path, question="prompt.0.content", answer="reward_model.ground_truth"
    )
    assert (item.text, item.answer) == ("a?", "12")
    assert read(path, question="prompt.0.role", answer="reward_model.b.c.d")
    both = layout.jsonl(tmp_path / "b.jsonl", [{**row, "reward_model.b.c.d": "4"}])
    args = dict(question="prompt.0.content", answer="reward_model.b.c.d")
    assert read(both, **args)[0].answer == "4"
    with pytest.raises(
        ValueError, match=r"'prompt.1.content' is not there; 'prompt' is"
    ):
        read(path, question="prompt.1.content", answer="prompt")


def test_tests_may_be_a_list_or_an_object_and_a_check_is_called(tmp_path):
    def answer(tests, **given):
        row = {"question": "Write f.", "answer": tests, "call": "f"}
        path = layout.jsonl(tmp_path / "mine.jsonl", [row])
        return read(path, programs=True, **given)[0].answer

    assert (
        answer(["import math", "assert f(1) == 2"]) == "import math\nassert f(1) == 2"
    )
    given = {"inputs": ["1\n"], "outputs": ["2\n"]}
    assert json.loads(answer(given)) == given
    assert json.loads(answer([given, given])) == [given, given]
    check = "def check(candidate):\n    assert candidate(1) == 2"
    assert answer(check, entry_point="call") == check + "\n\ncheck(f)"
    assert answer(check + "\ncheck(f)", entry_point="call") == check + "\ncheck(f)"
    assert answer(given, entry_point="call")
    with pytest.raises(ValueError, match="line 1: .*answer.* data.fields.entry_point"):
        answer(check)
    with pytest.raises(
        ValueError, match="line 1: field 'call' is 'f', which the tests"
    ):
        answer("assert g(1) == 2", entry_point="call")
    for wrong, told in [
        (["assert f(1)", 3], "has 3 as entry 2; each must be some text"),
        ([], "is an empty list"),
        (3, "is 3; it must be text or a list or an object"),
    ]:
        with pytest.raises(ValueError, match=f"line 1: field 'answer' {told}"):
            answer(wrong)


def test_cases_of_a_program_that_prints_may_be_fields_of_the_row(tmp_path):
    cases = {"inputs": ["1\n", "2\n"], "outputs": ["2\n", "4\n"]}
    row = {"question": "Double it.", **cases, "limit": "2.5 seconds"}
    path = layout.jsonl(tmp_path / "mine.jsonl", [row])
    named = {"inputs": "inputs", "outputs": "outputs", "time_limit_s": "limit"}
    (item,) = read(path, programs=True, **named)
    assert json.loads(item.answer) == {**cases, "time_limit_s": 2.5}
    for limit, seconds in ("500 ms", 0.5), ("2", 2.0), ("1 second", 1.0):
        path = layout.jsonl(tmp_path / "mine.jsonl", [{**row, "limit": limit}])
        assert json.loads(read(path, programs=True, **named)[0].answer) == {
            **cases,
            "time_limit_s": seconds,
        }
    path = layout.jsonl(tmp_path / "mine.jsonl", [{**row, "limit": "2 fortnights"}])
    with pytest.raises(ValueError, match="line 1: field 'limit' is .* one of ms"):
        read(path, programs=True, **named)
    path = layout.jsonl(tmp_path / "b.jsonl", [{"question": "a?", "inputs": ["1"]}])
    with pytest.raises(ValueError, match="line 1: field 'outputs' is not there"):
        read(path, programs=True, **named)


def test_an_answer_is_taken_and_refused_as_the_reading_says(tmp_path):
    path = layout.jsonl(tmp_path / "mine.jsonl", [*ROWS, {**ROWS[0], "answer": "a 7"}])
    reading = own.Reading(gold=lambda text: text.removeprefix("a "))
    assert [x.answer for x in own.read(path, reading)] == ["5", "1", "7"]
    reading = own.Reading(unmet=lambda text, entry: "is odd" * text.startswith("a"))
    with pytest.raises(ValueError, match="mine.jsonl, line 3: field 'answer' is odd."):
        own.read(path, reading)
    with pytest.raises(ValueError, match="line 1: .* where data.answer looks"):
        own.read(path, own.Reading(gold=lambda text: ""))


def test_an_id_that_occurs_twice_is_refused(tmp_path):
    path = layout.jsonl(tmp_path / "mine.jsonl", [{**ROWS[0], "id": "a"}] * 2)
    with pytest.raises(ValueError, match="line 2: field 'id' is 'a', which number 1"):
        read(path, id="id")


def test_a_file_without_a_question_is_refused(tmp_path):
    for name, text in [("a.jsonl", ""), ("a.json", "[]"), ("a.csv", "question,answer")]:
        with pytest.raises(ValueError, match=f"{name}: there is no question in it"):
            read(lines(tmp_path / name, text))
