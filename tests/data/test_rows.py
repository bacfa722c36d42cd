import gzip
import json

import pytest

from c3jax.data import rows
from tests.data import layout

ROWS = [
    {"question": " What is 2+3? ", "answer": "5"},
    {"question": "你好？", "answer": "1"},
]


def read(path):
    return [(row.text("question"), row.written("answer")) for row in rows.read(path)]


def test_empty_lines_are_no_rows_and_the_others_keep_their_numbers(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("\n" + json.dumps(ROWS[0]) + "\n\n{}\n")
    with pytest.raises(ValueError, match="mine.jsonl, line 4: field 'question' is not"):
        read(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"question": "a?", "answer": "1"', "must be one JSON object in UTF-8"),
        (b'{"question": "a?"} {}', "must be one JSON object in UTF-8"),
        (b'{"question": "\xff", "answer": "1"}', "must be one JSON object in UTF-8"),
        (b'["a?", "1"]', "must be a JSON object, not .'a"),
        (b'{"question": "a?"}', "field 'answer' is not there; the row has ..question"),
        (b'{"question": 5, "answer": "5"}', "field 'question' is 5; it must be text"),
        (b'{"question": "a?", "answer": null}',
         "field 'answer' is None; it must be text or a number"),
        (b'{"question": "a?", "answer": true}', "field 'answer' is True; it must be"),
        (b'{"question": "a?", "answer": NaN}', "field 'answer' is nan; it must be"),
        (b'{"question": "a?", "answer": 1e999}', "field 'answer' is inf; it must be"),
        (b'{"question": "a?", "answer": ["5"]}', "field 'answer' is ..5..; it must be"),
        (b'{"question": " ", "answer": "5"}', "field 'question' is empty"),
        (b'{"question": "a\\ud800", "answer": "5"}',
         r"field 'question' holds half of a surrogate pair, U\+D800"),
    ],
)  # fmt: skip
def test_a_malformed_line_is_named(line, message, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(json.dumps(ROWS[0]).encode() + b"\n" + line + b"\n")
    with pytest.raises(ValueError, match=f"mine.jsonl, line 2: .*{message}"):
        read(path)


def test_a_malformed_row_of_parquet_is_named(tmp_path):
    path = layout.parquet(tmp_path / "mine.parquet", [*ROWS, {"question": "a?"}])
    with pytest.raises(ValueError, match="mine.parquet, row 3: field 'answer' is None"):
        read(path)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(ValueError, match="none.jsonl: there is no such file"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="mine.json5: its name must end in one of"):
        read(tmp_path / "mine.json5")
    whole = gzip.compress(json.dumps(ROWS[0]).encode() * 99)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-20])
    with pytest.raises(ValueError, match="cut.jsonl.gz, after line .* is damaged"):
        read(tmp_path / "cut.jsonl.gz")
    (tmp_path / "text.parquet").write_text("no such thing")
    with pytest.raises(ValueError, match="text.parquet, after row 0: it is no Parquet"):
        read(tmp_path / "text.parquet")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.json",
            '{"rows": []}',
            "must be one JSON list .*, not an object with ..rows",
        ),
        ("a.json", "[3, {}]", "row 1: it must be a JSON object, not 3"),
        ("a.json", '[{"question": 3}]', "row 1: field 'question' is 3"),
        ("a.json", '{"a": 1}\n{"a": 2}', "must be one JSON list.*belong in a .jsonl"),
        ("a.json.gz", "[]", "the gzip file is damaged"),
        (
            "a.csv",
            "question,answer\na?,5\n\nb?",
            "line 4: it has 1 cells, where line 1",
        ),
        ("a.csv", 'question,answer\n"a\n?",5\n" ",5', "line 4: field 'question' is em"),
        ("a.csv", "question,question\na?,5", "line 1: it must name each column once"),
        ("a.csv", "question,\na?,5", "line 1: it must name each column once"),
        ("a.csv", 'question,answer\n"a?,5', "from line 2 on: it is no CSV"),
        ("a.csv", "question,answer\n\udcff,5", "from line . on: it is no CSV in UTF-8"),
        ("a.csv.gz", "question", "after line 0: the gzip file is damaged"),
    ],
)
def test_a_list_or_a_table_that_is_malformed_is_refused(name, text, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=f"{name}[,:] (.*){message}"):
        read(path)
