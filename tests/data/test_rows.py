import gzip
import json

import pytest

from c3jax.core.types import EXACT, Rules
from c3jax.data import rows
from tests.data import layout

FIELDS = dict(question="question", answer="answer", id="", entry_point="")
ROWS = [
    {"question": " What is 2+3? ", "answer": "5"},
    {"question": "你好？", "answer": "1"},
]


def own(path, rules=EXACT, first=0, **fields):
    return rows.own(path, {**FIELDS, **fields}, rules, first)


def test_own_questions_may_be_lines_of_json_gzipped_or_parquet(tmp_path):
    plain = layout.jsonl(tmp_path / "mine.jsonl", ROWS)
    packed = tmp_path / "mine.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    table = layout.parquet(tmp_path / "mine.parquet", ROWS)
    for path in (plain, packed, table):
        found = own(path, Rules(percent=True), first=7)
        assert [(item.uid, item.id) for item in found] == [
            (7, f"{path.name}/1"),
            (8, f"{path.name}/2"),
        ]
        assert (found[0].text, found[0].answer) == ("What is 2+3?", "5")
        assert found[1].text == "你好？"
        assert found[0].rules == Rules(percent=True)


def test_own_fields_may_have_other_names(tmp_path):
    row = {"q": "Double it.", "tests": "assert f(1) == 2", "name": "x1", "call": "f"}
    path = layout.jsonl(tmp_path / "mine.jsonl", [row])
    (item,) = own(path, question="q", answer="tests", id="name", entry_point="call")
    assert (item.id, item.entry_point) == ("x1", "f")
    assert item.answer == "assert f(1) == 2"


def test_empty_lines_are_no_rows_and_the_others_keep_their_numbers(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("\n" + json.dumps(ROWS[0]) + "\n\n{}\n")
    with pytest.raises(ValueError, match="mine.jsonl, line 4: field 'question' is not"):
        own(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"question": "a?", "answer": "1"', "must be one JSON object in UTF-8"),
        (b'{"question": "a?"} {}', "must be one JSON object in UTF-8"),
        (b'{"question": "\xff", "answer": "1"}', "must be one JSON object in UTF-8"),
        (b'["a?", "1"]', "must be a JSON object, not .'a"),
        (b'{"question": "a?"}', "field 'answer' is not there; the row has ..question"),
        (b'{"question": "a?", "answer": 5}', "field 'answer' is 5; it must be text"),
        (b'{"question": "a?", "answer": null}', "field 'answer' is None; it must be"),
        (b'{"question": "a?", "answer": true}', "field 'answer' is True; it must be"),
        (b'{"question": " ", "answer": "5"}', "field 'question' is empty"),
        (b'{"question": "a\\ud800", "answer": "5"}',
         r"field 'question' holds half of a surrogate pair, U\+D800"),
    ],
)  # fmt: skip
def test_a_malformed_line_is_named(line, message, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(json.dumps(ROWS[0]).encode() + b"\n" + line + b"\n")
    with pytest.raises(ValueError, match=f"mine.jsonl, line 2: .*{message}"):
        own(path)


def test_a_malformed_row_of_parquet_is_named(tmp_path):
    path = layout.parquet(tmp_path / "mine.parquet", [*ROWS, {"question": "a?"}])
    with pytest.raises(ValueError, match="mine.parquet, row 3: field 'answer' is None"):
        own(path)


def test_an_id_that_occurs_twice_is_refused(tmp_path):
    path = layout.jsonl(tmp_path / "mine.jsonl", [{**ROWS[0], "id": "a"}] * 2)
    with pytest.raises(ValueError, match="line 2: field 'id' is 'a', which number 1"):
        own(path, id="id")


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(ValueError, match="none.jsonl: there is no such file"):
        own(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="mine.csv: its name must end in one of"):
        own(tmp_path / "mine.csv")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="empty.jsonl: there is no question"):
        own(tmp_path / "empty.jsonl")
    whole = gzip.compress(json.dumps(ROWS[0]).encode() * 99)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-20])
    with pytest.raises(ValueError, match="cut.jsonl.gz, after line .* is damaged"):
        own(tmp_path / "cut.jsonl.gz")
    (tmp_path / "text.parquet").write_text("no such thing")
    with pytest.raises(ValueError, match="text.parquet, after row 0: it is no Parquet"):
        own(tmp_path / "text.parquet")


def test_tests_that_are_wrong_are_an_error_with_file_line_and_field(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"q": "add", "in": ["1"], "out": ["2"], "s": "2.5 seconds"}\n')
    fields = {"question": "q", "answer": "a", "id": "", "entry_point": ""}
    fields |= {"inputs": "in", "outputs": "out", "time_limit_s": "s"}
    (item,) = rows.own(path, fields, EXACT, check=lambda answer, entry: None)
    assert json.loads(item.answer) == {
        "inputs": ["1"],
        "outputs": ["2"],
        "time_limit_s": 2.5,
    }
    with pytest.raises(ValueError, match=r"mine.jsonl, line 1: field 'in' is no good"):
        rows.own(path, fields, EXACT, check=lambda answer, entry: "is no good")
