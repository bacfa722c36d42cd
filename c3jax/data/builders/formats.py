"""Rows as their origins publish them, turned into questions with gold answers.

A parser takes a row and the name of a split and returns the fields of a question:
`question`, `answer` and, where there are any, `id`, `entry_point`, `subject`, `level`;
None for a row of another split. An answer may be empty: such rows are dropped and
counted later. A row that does not hold what it must is a ValueError with its place.
"""

import ast
import itertools
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator

from c3jax.data import rows

# PRM800K gives two rows of MATH one id; the later one is this training question.
_TWICE = {"test/precalculus/24307.json": "train/geometry/6032.json"}
_WHOLE = re.compile(r"^(-?)0*(\d+)(?:\.0)?$")
_OPTION = re.compile(r"[A-D](?:[.?:、]|(?=\s))\s*")


def each(parser: Callable) -> Callable:
    """A parser of single rows, as one of all the rows of a dataset's files.

    Args:
        parser: (row, split) -> fields of a question, or None.

    Returns:
        (rows, split) -> the fields of each question of that split.
    """

    def parse(stream: Iterable[rows.Row], split: str) -> Iterator[dict]:
        questions = (parser(row, split) for row in stream)
        return (fields for fields in questions if fields is not None)

    return parse


def math(stream: Iterable[rows.Row], split: str) -> Iterator[dict]:
    """MATH in the files of PRM800K, whose ids are the paths of the original."""
    names = set()
    for row in stream:
        name = row.text("unique_id")
        if name in names and name in _TWICE:
            name = _TWICE[name]
        names.add(name)
        if name.split("/")[0] == split:
            yield {**_math(row), "id": f"math/{name}"}


def math500(row: rows.Row, split: str) -> dict:
    """The 500 test questions of MATH that PRM800K kept apart."""
    return {**_math(row), "id": f"math500/{row.text('unique_id')}"}


def _math(row: rows.Row) -> dict:
    return {
        "question": row.text("problem"),
        "answer": row.optional_text("answer"),
        "subject": row.text("subject"),
        "level": str(row.value("level", int)),
    }


def gsm8k(row: rows.Row, split: str) -> dict:
    """GSM8K: the answer follows the last ####, thousands set off by commas."""
    _, marked, answer = row.text("answer").rpartition("####")
    if not marked:
        raise row.wrong("answer", "has no '####' before the gold answer")
    return {"question": row.text("question"), "answer": answer.strip().replace(",", "")}


def cmath(row: rows.Row, split: str) -> dict:
    """CMATH; the two files call the question by different names."""
    return {
        "question": row.text("input" if "input" in row.fields else "question"),
        "answer": row.optional_text("golden"),
        "level": str(row.value("grade", int)),
    }


MBPP_SPLITS = {
    "prompt": range(1, 11),
    "test": range(11, 511),
    "validation": range(511, 601),
    "train": range(601, 975),
}


def mbpp(row: rows.Row, split: str) -> dict | None:
    """MBPP, whose splits are ranges of task ids; a program is asked for by one test."""
    task = row.value("task_id", int)
    if task not in MBPP_SPLITS[split]:
        return None
    tests = _texts(row, "test_list")
    code = row.text("code").replace("\r\n", "\n")
    setup = row.optional_text("test_setup_code").replace("\r\n", "\n")
    return {
        "id": f"mbpp/{task}",
        "question": asked(row.text("text"), tests),
        "answer": "\n".join([*filter(None, [setup]), *tests]),
        "entry_point": tested(row, code, tests),
    }


def mbpp_plus(row: rows.Row, split: str) -> dict:
    """MBPP+: the question of MBPP, the tests of EvalPlus."""
    tests = _texts(row, "test_list")
    return {
        "id": f"mbppplus/{row.value('task_id', int)}",
        "question": asked(row.text("prompt"), tests),
        "answer": "\n".join([*_texts(row, "test_imports"), row.text("test")]),
        "entry_point": tested(row, row.text("code"), tests),
    }


def human_eval(row: rows.Row, split: str) -> dict:
    """HumanEval and HumanEval+: the question is the beginning of the program."""
    entry, test = row.text("entry_point"), row.text("test").rstrip()
    call = f"check({entry})"
    return {
        "question": row.text("prompt"),
        "answer": test if test.endswith(call) else f"{test}\n\n{call}",
        "entry_point": entry,
    }


def competition(question: str, row: rows.Row, split: str) -> dict:
    """AIME and AMC: a whole number, which some files write as 073 or 27.0.

    Args:
        question: the name of the question's field.
    """
    answer = str(row.value("answer", (str, int, float)))
    return {
        "question": row.text(question),
        "answer": _WHOLE.sub(r"\1\2", answer.strip()),
    }


def minerva(row: rows.Row, split: str) -> dict:
    """Minerva's questions: the answer is the last box of the solution."""
    # The box ends where its opening brace is closed.
    _, boxed, rest = row.text("solution").rpartition(r"\boxed{")
    depths = itertools.accumulate(
        ({"{": 1, "}": -1}.get(letter, 0) for letter in rest), initial=1
    )
    end = next((place for place, depth in enumerate(depths) if depth == 0), None)
    if not boxed or end is None:
        raise row.wrong("solution", r"has no \boxed{} to take the gold answer from")
    return {
        "question": row.text("problem"),
        "answer": rest[: end - 1],
        "subject": row.text("type"),
    }


def olympiad_bench(row: rows.Row, split: str) -> dict:
    """OlympiadBench's open questions in English, without pictures."""
    answers = [text.strip().strip("$") for text in _texts(row, "final_answer")]
    before = [row.text("context")] if row.fields.get("context") else []
    return {
        "question": "\n\n".join([*before, row.text("question")]),
        "answer": ", ".join(answers),
        "subject": row.optional_text("subfield"),
    }


def logiqa_blocks(path: pathlib.Path) -> Iterator[rows.Row]:
    """LogiQA's text: eight lines a question, the first of them empty.

    Raises:
        ValueError: no such file, it is no UTF-8, or a block of another form.
    """
    try:
        lines = path.read_bytes().decode().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: it must be text in UTF-8 ({error}).") from None
    for begin in range(0, len(lines), 8):
        block = [line.strip() for line in lines[begin : begin + 8]]
        if not any(block):
            continue
        if len(block) < 8 or block[0] or block[1] not in {"a", "b", "c", "d"}:
            raise ValueError(
                f"{path}, line {begin + 1}: a question is an empty line, the letter of "
                f"the answer, the text, what is asked and four options; found {block}."
            )
        names = ("text", "asked", "A", "B", "C", "D")
        fields = {"answer": block[1], **dict(zip(names, block[2:], strict=True))}
        yield rows.Row(path, begin + 1, fields)


def logiqa(row: rows.Row, split: str) -> dict:
    """LogiQA: the answer is the letter of an option, and the question lists them."""
    options = [f"{letter}. {_option(row.text(letter))}" for letter in "ABCD"]
    return {
        "question": "\n".join([row.text("text"), row.text("asked"), *options]),
        "answer": row.text("answer").upper(),
    }


def plain(row: rows.Row, split: str) -> dict:
    """A row that somebody prepared before: a question with its answer or its tests."""
    name = row.text("id")
    if "tests" in row.fields:
        entry, prompt = row.text("entry_point"), row.text("prompt")
        # As in HumanEval, a prompt may be the beginning of a program.
        is_program = re.search(r"^\s*def \w+\(", prompt, re.MULTILINE)
        return {
            "id": name,
            "question": asked(prompt, [] if is_program else _shown(row)),
            "answer": row.text("tests"),
            "entry_point": entry,
        }
    optional = [field for field in ("subject", "level") if row.fields[field]]
    return {
        "id": name,
        "question": row.text("question"),
        "answer": row.optional_text("answer"),
        **{field: row.text(field) for field in optional},
    }


def asked(text: str, tests: list[str]) -> str:
    """A programming question with its first test, which tells the function's name."""
    if not tests:
        return text
    return f"{text.strip()}\nThe program must pass this test:\n{tests[0].strip()}"


def tested(row: rows.Row, code: str, tests: list[str]) -> str:
    """The function of a reference program that its tests call first.

    Args:
        row: the row that an error names.
        tests: asserts.

    Raises:
        ValueError: the code or a test is no Python, or no function of it is called.
    """
    try:
        defined = {n.name for n in ast.parse(code).body if hasattr(n, "name")}
        called = [
            node.func.id
            for node in ast.walk(ast.parse("\n".join(tests)))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]
    except SyntaxError as error:
        raise row.wrong("code", f"or its tests are no Python ({error})") from None
    names = [name for name in called if name in defined]
    if not names:
        raise row.wrong("test_list", f"calls none of {sorted(defined)} of the program")
    return names[0]


def _shown(row: rows.Row) -> list[str]:
    """The tests of which a question shows the first."""
    if "test_list" in row.fields:
        return _texts(row, "test_list")
    base = row.text("base_tests")
    return [ast.get_source_segment(base, ast.parse(base).body[0])]


def _texts(row: rows.Row, name: str) -> list[str]:
    """A field that is a list of texts, with the line ends of Unix."""
    texts = row.value(name, list)
    if not all(isinstance(text, str) for text in texts):
        raise row.wrong(name, f"is {texts!r:.60}; it must be a list of texts")
    return [text.replace("\r\n", "\n") for text in texts]


def _option(text: str) -> str:
    return _OPTION.sub("", text, count=1) if _OPTION.match(text) else text
