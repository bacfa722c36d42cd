import gzip
import json
import pathlib
import subprocess
import sys

import pytest

from c3jax.core import files
from c3jax.core.types import EXACT, Rules
from c3jax.data import prepare, rows
from c3jax.data.builders import fetch, formats, origins, prepared
from tests import support
from tests.data import layout

# Per dataset and split, the text of the first question and its answer.
FIRST = {
    "math/train": ("What is $2+3$?", "5"),
    "math/test": ("Halve the square of $\\frac{4}{2}$.", "2"),
    "math500/test": ("What is $7-3$?", "4"),
    "gsm8k/train": ("Ana buys 3 pens at $400 each. What does she pay?", "1200"),
    "gsm8k/test": ("Eva eats 2 of 9 figs. How many are left?", "7"),
    "cmath/validation": ("小红有3支笔，又买了2支，现在有几支笔？", "5"),
    "cmath/test": ("一箱苹果重12千克，5箱重多少千克？", "60"),
    "mbpp/prompt": (
        "Write a function to double a number.\n"
        "The program must pass this test:\nassert double(2) == 4",
        "assert double(2) == 4\nassert double(0) == 0",
    ),
    "mbpp/test": (
        "Write a function to add up a list.\n"
        "The program must pass this test:\nassert sum([1, 2]) == 3",
        "assert sum([1, 2]) == 3",
    ),
    "mbpp/validation": (
        "Write a function to sort a list.\n"
        "The program must pass this test:\nassert set(ordered([2, 1])) == set([1, 2])",
        "assert set(ordered([2, 1])) == set([1, 2])",
    ),
    "mbpp/train": (
        "Write a function to find the size of a pair.\n"
        "The program must pass this test:\nassert size(Pair()) == 2",
        "root = Pair()\n\nassert size(Pair()) == 2",
    ),
    "mbppplus/test": (
        "Write a function to double a number.\n"
        "The program must pass this test:\nassert double(2) == 4",
        "import math\ninputs = [[2], [5]]\nresults = [4, 10]\n"
        "for i, r in zip(inputs, results):\n    assert double(*i) == r",
    ),
    "humaneval/test": (
        'def triple(x: int) -> int:\n    """Three times x."""',
        "def check(candidate):\n    assert candidate(2) == 6\n\ncheck(triple)",
    ),
    "humanevalplus/test": (
        'def triple(x: int) -> int:\n    """Three times x."""',
        "def check(candidate):\n    assert candidate(2) == 6\n\ncheck(triple)",
    ),
    "aime24/test": ("Find the remainder of $10$ by $7$.", "3"),
    "aime25/test": ("Find $m+n$.", "70"),
    "amc23/test": ("How many minutes pass?", "27"),
    "minerva/test": ("How fast is it, in m/s?", r"3.0 \times 10^{8}"),
    "olympiadbench/test": ("Solve for $x$.", "2"),
    "logiqa/train": (
        "All cats purr. Tom is a cat.\nWhich follows?\n"
        "A. Tom barks.\nB. Tom purrs.\nC. Tom is a dog.\nD. Nothing.",
        "B",
    ),
    "logiqa/validation": (
        "One is odd.\nWhich is odd?\nA. One\nB. Two\nC. Four\nD. Six",
        "A",
    ),
    "logiqa/test": (
        "Two is even.\nWhich is even?\nA. One\nB. Three\nC. Five\nD. Two",
        "D",
    ),
}


def opened(name, split, tmp_path, **changes):
    source = layout.files(name, tmp_path / "source")
    return prepared.split(
        layout.dataset(name, **changes), split, tmp_path / "data", source
    )


def test_the_table_names_every_split_and_its_expectations():
    assert set(FIRST) == {
        f"{name}/{split}"
        for name, dataset in origins.DATASETS.items()
        for split in dataset.splits
    }
    for name, dataset in origins.DATASETS.items():
        assert dataset.name == name
        assert set(dataset.counts) == set(dataset.splits)
        assert dataset.licence and dataset.citation
        named = {file.name for file in dataset.files}
        assert named == set().union(*dataset.splits.values())
        assert all(file.url.startswith("https://") for file in dataset.files)


@pytest.mark.parametrize("name", sorted(FIRST))
def test_a_directory_of_the_origins_files_is_prepared(name, tmp_path):
    dataset, split = prepared.find(name, "data.test")
    found = opened(dataset.name, split, tmp_path)
    assert (found[0].text, found[0].answer) == FIRST[name]
    assert found[0].rules == dataset.rules
    assert [item.uid for item in found] == list(range(len(found)))
    assert len({item.id for item in found}) == len(found)
    assert bool(found[0].entry_point) == (dataset.reward == "code")


def test_what_is_particular_to_a_dataset_survives(tmp_path, capsys):
    math = opened("math", "train", tmp_path)
    assert [item.id for item in math] == [
        "math/train/algebra/1.json",
        "math/train/geometry/6032.json",  # where two rows have one id
        "math/train/geometry/3.json",
    ]
    assert math[2].subject == "Geometry" and math[2].level == "2"
    assert "math/train: 4 rows, 1 without a gold answer left out" in (
        capsys.readouterr().out
    )
    code = opened("mbpp", "test", tmp_path)
    assert (code[0].id, code[0].entry_point) == ("mbpp/12", "sum")
    olympiad = opened("olympiadbench", "test", tmp_path)[1]
    assert olympiad.text == "Let $y^2=1$.\n\nAnd for $y$?"
    assert olympiad.answer == "1, -1"
    options = opened("logiqa", "train", tmp_path)[1].text.splitlines()[2:]
    assert options == ["A. It snows", "B. It is dry", "C. 下雨", "D. Cats purr"]
    assert origins.DATASETS["cmath"].rules == Rules(chinese=True)
    assert origins.DATASETS["minerva"].rules == Rules(tolerance=0.01)
    assert origins.DATASETS["math"].rules == EXACT


def test_rows_that_were_prepared_before_will_do(tmp_path):
    given = {
        "gsm8k_train": [
            {"id": "a", "question": "One?", "answer": "1", "subject": "x", "level": ""},
            {"id": "b", "question": "None?", "answer": "", "subject": "", "level": ""},
        ],
        "gsm8k_test": [
            {"id": "c", "question": "Two?", "answer": "2", "subject": "", "level": "3"}
        ],
    }
    for name, found in given.items():
        text = "".join(json.dumps(row) + "\n" for row in found)
        (tmp_path / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    dataset = layout.dataset("gsm8k")
    train = prepared.split(dataset, "train", tmp_path / "data", tmp_path)
    test = prepared.split(dataset, "test", tmp_path / "data", tmp_path)
    assert [(item.id, item.answer, item.subject) for item in train] == [("a", "1", "x")]
    assert test[0].level == "3"


def test_prepared_rows_of_programs_show_a_test_unless_they_are_begun():
    def plain(**fields):
        row = rows.Row(
            pathlib.Path("f.jsonl"), 1, {"id": "a", "entry_point": "f", **fields}
        )
        return formats.plain(row, "test")["question"]

    assert plain(prompt="Do it.", tests="t", test_list=["assert f(1)"]).endswith("f(1)")
    several = "assert f(1,\n  2)\nassert f(3)"
    assert plain(prompt="Do it.", tests="t", base_tests=several).endswith("f(1,\n  2)")
    assert plain(prompt="def f(x):\n", tests="t") == "def f(x):\n"


def test_the_metadata_holds_licence_and_citation(tmp_path):
    opened("gsm8k", "train", tmp_path)
    place = tmp_path / "data" / "gsm8k" / origins.VERSION
    info = json.loads((place / "dataset_info.json").read_text())
    assert "Cobbe" in info["citation"] and "MIT" in json.dumps(info)
    assert info["fileFormat"] == "array_record"


def test_records_keep_the_order_of_their_file_and_random_access_is_checked(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    given = [{"question": f"q{n}?", "answer": f"#### {n}"} for n in range(300)]
    layout.jsonl(source / "train.jsonl", given)
    layout.jsonl(source / "test.jsonl", given[:1])
    dataset = layout.dataset("gsm8k")
    found = prepared.split(dataset, "train", tmp_path / "data", source, first=1000)
    assert [found[n].answer for n in (0, 299, 17)] == ["0", "299", "17"]
    assert found[17].uid == 1017
    with pytest.raises(IndexError, match="300 rows here, not 300"):
        found[300]


def test_a_download_is_kept_recorded_and_not_repeated(tmp_path):
    source = layout.files("gsm8k", tmp_path / "source")
    counts = {"train": 2, "test": 1}
    dataset = layout.served("gsm8k", source, counts=counts)
    assert len(prepared.split(dataset, "train", tmp_path / "data")) == 2
    home = tmp_path / "data" / "gsm8k"
    assert fetch.recorded(home) == {
        name: files.sha256(source / name) for name in ("train.jsonl", "test.jsonl")
    }
    # A later run needs no network.
    (source / "train.jsonl").unlink()
    assert len(prepared.split(dataset, "train", tmp_path / "data")) == 2


def test_a_file_that_changed_since_it_was_recorded_is_refused(tmp_path):
    source = layout.files("gsm8k", tmp_path / "source")
    dataset = layout.dataset("gsm8k")
    prepared.prepare(dataset, tmp_path / "data", source)
    with (source / "train.jsonl").open("a") as file:
        file.write('{"question": "New?", "answer": "#### 1"}\n')
    with pytest.raises(ValueError, match="from other files than those in data.source"):
        prepared.prepare(dataset, tmp_path / "data", source)
    home = tmp_path / "data" / "gsm8k"
    files.remove(home / origins.VERSION)
    with pytest.raises(ValueError, match=r"train.jsonl has the SHA-256 .*recorded"):
        prepared.prepare(dataset, tmp_path / "data", source)


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path):
    source = layout.files("gsm8k", tmp_path / "source")
    with pytest.raises(ValueError, match=r"train.jsonl has the SHA-256 .*its origin"):
        prepared.prepare(origins.DATASETS["gsm8k"], tmp_path / "data", source)


def test_prepared_data_that_was_touched_is_refused(tmp_path):
    found = opened("gsm8k", "train", tmp_path)
    place = tmp_path / "data" / "gsm8k" / origins.VERSION
    records = next(place.glob("*train*"))
    damaged = bytearray(records.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    records.write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match="not as it was prepared.*Delete"):
        prepared.split(layout.dataset("gsm8k"), "train", tmp_path / "data")
    assert len(found) == 2


def test_what_was_killed_on_the_way_is_prepared_again(tmp_path):
    unfinished = tmp_path / "data" / "gsm8k" / "unfinished" / "gsm8k"
    unfinished.mkdir(parents=True)
    (unfinished / "half").write_text("")
    assert len(opened("gsm8k", "train", tmp_path)) == 2
    assert not unfinished.exists()


def test_a_wrong_count_is_an_error_of_a_download_and_a_note_of_a_directory(
    tmp_path, capsys
):
    source = layout.files("gsm8k", tmp_path / "source")
    dataset = layout.served("gsm8k", source)
    with pytest.raises(ValueError, match="has 2 rows, where 7473 are published"):
        prepared.prepare(dataset, tmp_path / "data")
    prepared.prepare(dataset, tmp_path / "data", source)
    told = capsys.readouterr().out
    assert "note: gsm8k/train has 2 rows, where 7473 are published" in told


def test_without_a_network_the_error_says_what_to_do_by_hand(tmp_path):
    dataset = layout.served("gsm8k", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="cannot be fetched") as caught:
        prepared.prepare(dataset, tmp_path / "data")
    told = str(caught.value)
    for file in dataset.files:
        assert f"{file.url}\n        as {file.name}" in told
    assert str(tmp_path / "data" / "gsm8k" / "downloads") in told
    assert "data.source=DIR" in told and "--source=DIR" in told
    assert not list((tmp_path / "data").rglob("*.unfinished"))


def test_a_directory_that_lacks_a_file_is_refused(tmp_path):
    source = layout.files("logiqa", tmp_path / "source")
    (source / "Eval.txt").unlink()
    wanted = r"does not hold logiqa: put .*'Eval.txt'.*https://.*logiqa_test.jsonl.gz"
    with pytest.raises(ValueError, match=wanted):
        prepared.prepare(layout.dataset("logiqa"), tmp_path / "data", source)


def test_a_directory_may_hold_several_datasets(tmp_path):
    layout.files("gsm8k", tmp_path / "source")
    layout.files("math", tmp_path / "source")
    for name in ("gsm8k", "math"):
        found = prepared.split(
            layout.dataset(name), "train", tmp_path / "data", tmp_path / "source"
        )
        assert found[0].id.startswith(name)


def test_a_split_without_a_row_is_refused(tmp_path):
    source = layout.files("gsm8k", tmp_path)
    (source / "test.jsonl").write_text("")
    with pytest.raises(ValueError, match="gsm8k/test has no rows"):
        prepared.prepare(layout.dataset("gsm8k"), tmp_path / "data", source)


@pytest.mark.parametrize(
    ("name", "file", "line", "message"),
    [
        ("gsm8k", "train.jsonl", '{"question": "a?", "answer": "7"}',
         "train.jsonl, line 3: field 'answer' has no '####'"),
        ("math", "test.jsonl", '{"problem": "a?"}',
         "test.jsonl, line 2: field 'unique_id' is not there; the row has ..problem"),
        ("cmath", "test.jsonl", '{"question": "a?", "golden": "1", "grade": "1"}',
         "test.jsonl, line 2: field 'grade' is '1'; it must be a whole number"),
        ("mbpp", "mbpp.jsonl", '{"task_id": 700, "test_list": [1]}',
         "mbpp.jsonl, line 5: field 'test_list' is .1.; it must be a list of texts"),
        ("minerva", "test.jsonl", r'{"problem": "a?", "solution": "\\boxed{1"}',
         "test.jsonl, line 2: field 'solution' has no .boxed"),
        ("logiqa", "Test.txt", "\nx\nA text.\nWhat?\nA.1\nB.2\nC.3\nD.4",
         "Test.txt, line 9: a question is an empty line, the letter"),
    ],
)  # fmt: skip
def test_a_malformed_row_is_named(name, file, line, message, tmp_path):
    source = layout.files(name, tmp_path / "source")
    with (source / file).open("a") as out:
        out.write(line + "\n")
    with pytest.raises(ValueError, match=message):
        prepared.prepare(layout.dataset(name), tmp_path / "data", source)
    # Once it is put right, nothing stands in the way.
    layout.files(name, tmp_path / "right")
    assert prepared.prepare(
        layout.dataset(name), tmp_path / "data", tmp_path / "right" / name
    )


def test_a_program_whose_tests_call_none_of_it_is_refused():
    row = rows.Row(pathlib.Path("mbpp.jsonl"), 4, {})
    with pytest.raises(ValueError, match=r"line 4: .* calls none of \['f'\]"):
        formats.tested(row, "def f(): pass", ["assert g()"])
    with pytest.raises(ValueError, match="no Python"):
        formats.tested(row, "def f(:", ["assert f()"])


def test_a_name_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="data.test='maths' .* did you mean 'math'"):
        prepared.find("maths/test", "data.test")
    with pytest.raises(ValueError, match="split='dev' is not known; pick one of"):
        prepared.find("math/dev", "data.test")


def test_the_command_prepares_lists_and_refuses(tmp_path, capsys, monkeypatch):
    prepare.main(["--list"])
    listed = capsys.readouterr().out
    assert all(name in listed for name in origins.DATASETS)
    with pytest.raises(SystemExit, match="c3jax: .*does not hold"):
        prepare.main(
            ["--dataset=math", f"--source={tmp_path}", f"--data_dir={tmp_path}"]
        )
    with pytest.raises(SystemExit):
        prepare.main([])
    source = layout.files("cmath", tmp_path)  # without published checksums
    prepare.main(["--dataset=cmath", f"--source={source}", f"--data_dir={tmp_path}/d"])
    assert "cmath/test: 1 questions" in capsys.readouterr().out
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert str(prepared.default_directory()) == "/cache/c3jax/data"


def test_the_files_of_one_revision_are_asked_for():
    for dataset in origins.DATASETS.values():
        for file in dataset.files:
            assert any(
                len(part) == 40 and not set(part) - set("0123456789abcdef")
                for part in file.url.split("/")
            ), file.url
            assert file.sha256 is None or len(file.sha256) == 64


def test_two_splits_may_be_one_file(tmp_path):
    source = layout.files("mbpp", tmp_path)
    found = prepared.prepare(layout.dataset("mbpp"), tmp_path / "data", source)
    assert list(found) == ["prompt", "test", "validation", "train"]
    assert all(len(records) == 1 for records in found.values())


def test_importing_the_table_is_quick():
    code = "import c3jax.data.tasks, sys; print('tensorflow_datasets' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=support.ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == "False", done.stderr
