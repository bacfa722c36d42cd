import dataclasses

import pytest

from c3jax.core.types import EXACT, Rules
from c3jax.data import arithmetic, demonstrations, kinds, own, problems, tasks
from c3jax.data.builders import origins
from tests.data import layout
from tests.data.test_overlap import LONG

NEAR = dict(action="drop", ngram=13, share=0.5)
KEPT = {**NEAR, "action": "keep"}


@pytest.fixture
def mine(tmp_path):
    """Files of our own: one training question is a test question, one is near it."""
    near = LONG.replace("A baker", "Some baker")
    train = [LONG + "!", "What is 1+1?", near, "What is 2+2?"]
    test = ["What is 3+3?", LONG]

    def file(name, texts):
        found = [{"question": text, "answer": str(n)} for n, text in enumerate(texts)]
        return str(layout.jsonl(tmp_path / name, found))

    return {"train": (file("train.jsonl", train),), "test": file("test.jsonl", test)}


def load(task="math", **options):
    reading = own.Reading(rules=Rules(percent=True))
    given = {"reading": reading, "near": NEAR, "validation": None, **options}
    return tasks.load(task, **given)


def test_the_embedded_task_has_demonstrations():
    task = load("problems")
    assert task.split("train")[3] == problems.Problems("train")[3]
    assert task.generator.demonstrate is problems.demonstrate
    item = task.split("test")[5]
    assert (item.id, item.entry_point, item.rules) == ("problems/5", "", EXACT)


def test_a_task_says_who_grades_it():
    assert {name: kind.reward for name, kind in kinds.TASKS.items()} == {
        **dict.fromkeys(("problems", "arithmetic", "math", "gsm8k"), "math"),
        **dict.fromkeys(("cmath", "logiqa"), "math"),
        **dict.fromkeys(("programs", "mbpp"), "code"),
    }
    assert kinds.TASKS["cmath"].rules == Rules(chinese=True)


def test_a_task_with_levels_trains_on_some_and_is_measured_on_others():
    names = ("arithmetic.one_step+two_steps/train", "arithmetic.two_digits/train")
    test = "arithmetic.two_steps/test"
    task = load("arithmetic", train=names, weights=(2, 1), test=test)
    train = task.split("train")
    assert [train[i].level for i in (0, 1, 2, 16384, 32767)] == [
        *("one_step", "two_steps", "one_step", "two_digits", "two_digits")
    ]
    assert [train[i].uid for i in (0, 16384, 32767)] == [0, 16384, 32767]
    assert train.weights == (2, 1)
    assert task.split("test")[7] == arithmetic.Arithmetic("test", ("two_steps",))[7]
    assert (task.reading, load("problems").reading) == ("any_number", "")
    own, every = load("arithmetic"), load("arithmetic", test="arithmetic/test")
    assert own.split("test")[7] == arithmetic.Arithmetic("test", ("one_step",))[7]
    assert {every.split("test")[i].level for i in range(4)} == {*arithmetic.LEVELS}


def test_questions_of_levels_that_are_too_long_are_left_out():
    task = load("arithmetic", train=("arithmetic.one_step/validation",))
    fitted = tasks.fitting(task, lambda texts: [*map(len, texts)], 99, "drop")
    assert 0 < len(fitted.split("train")) < 512
    kept = [len(item.text) for item in fitted.split("train")]
    assert fitted.lengths["train"] == kept and max(kept) <= 99
    assert fitted.dropped["train"] == 512 - len(fitted.split("train"))


def test_training_questions_of_the_test_split_are_dropped_and_told(mine):
    task = load(**mine)
    train = task.split("train")
    assert [item.text for item in train] == ["What is 1+1?", "What is 2+2?"]
    assert [item.uid for item in train] == [1, 3]  # as if none was missing
    assert len(task.split("test")) == 2
    assert "4 questions, 2 of them in the test split" in task.report
    assert "(1 word for word, 1 nearly) and left out" in task.report


def test_they_can_be_kept_or_refused(mine):
    kept = load(**mine, near={**NEAR, "action": "keep"})
    assert len(kept.split("train")) == 4
    assert "2 of them in the test split (1 word for word, 1 nearly) and kept" in (
        kept.report
    )
    with pytest.raises(ValueError, match="action='refuse': 2 .*'train.jsonl/1'"):
        load(**mine, near={**NEAR, "action": "refuse"})
    exact = load(**mine, near={**NEAR, "ngram": 0})
    assert len(exact.split("train")) == 3


def test_a_validation_split_is_apart_from_train_and_test(tmp_path, mine):
    texts = ["What is 2+2?", LONG, "What is 5+5?", "What is 6+6?"]
    found = [{"question": text, "answer": "4"} for text in texts]
    name = str(layout.jsonl(tmp_path / "own.jsonl", found))
    task = load(**mine, validation=name)
    assert [item.text for item in task.split("train")] == ["What is 1+1?"]
    kept = [item.text for item in task.split("validation")]
    assert kept == [texts[0], *texts[2:]]
    assert task.measured == ["test", "validation"] and task.watched == "validation"
    assert (
        "1 of them in the validation split (1 word for word, 0 nearly)" in task.report
    )
    assert "validation: " in task.report and "4 questions, 1 of them in the test split"
    with pytest.raises(
        ValueError, match=r"own.jsonl'.*: all of it is in data.valid.*'keep'"
    ):
        load(train=(name,), test=mine["test"], validation=name)
    assert load(**mine).watched == "test"


def test_generated_tasks_have_a_validation_split(mine):
    task = load("problems", validation="")
    assert task.split("validation")[3] == problems.Problems("validation")[3]
    own = load("arithmetic", validation="", test="arithmetic.two_steps/test")
    validation = arithmetic.Arithmetic("validation", ("two_steps",))
    assert own.split("validation")[7] == validation[7]
    # One that is neither learned from nor tested on.
    other = load("arithmetic", validation="", train=("arithmetic/validation",))
    train = arithmetic.Arithmetic("train", ("one_step",))
    assert other.split("validation")[7] == train[7]
    every = ("arithmetic/validation", "arithmetic/train")
    with pytest.raises(ValueError, match="data.train and data.test take all of"):
        load("arithmetic", validation="", train=every)
    with pytest.raises(ValueError, match="validation='arithmetic/test': its sums are"):
        load("arithmetic", validation="arithmetic/test")


def test_without_one_of_its_own_a_task_holds_out_a_part_of_train(tmp_path, mine):
    texts = [f"What is {n}+{n}?" for n in range(40)]
    found = [{"question": text, "answer": "4"} for text in texts]
    name = str(layout.jsonl(tmp_path / "own.jsonl", found))
    task = load(train=(name,), test=mine["test"], validation="", held_out=9)
    train, held = ({x.text for x in task.split(n)} for n in ("train", "validation"))
    assert len(held) == 3 and not train & held
    assert train | held == {*texts} - {"What is 3+3?"}
    assert "validation: 3 of the training questions. test: " in task.report


def test_parts_of_a_mixture_have_addresses_of_their_own(mine):
    task = load(train=mine["train"] * 2, weights=(1, 2), test=mine["test"])
    assert [item.uid for item in task.split("train")] == [1, 3, 5, 7]
    assert task.split("train").weights == (1, 2)


def test_own_questions_are_read_as_told_and_their_files_are_known(mine):
    task = load("cmath", **mine, validation=mine["test"], near=KEPT)
    assert task.split("test")[0].rules == Rules(percent=True)
    assert [*map(str, task.files)] == [*mine["train"], *2 * [mine["test"]]]
    assert load("mbpp", **mine).reward == "code"


@pytest.mark.parametrize("name", ["/x/q.json5", "q.txt", "./mine", "a/b/c"])
def test_what_is_neither_a_split_nor_a_file_is_refused_with_the_endings(mine, name):
    told = f"data.train='{name}' is neither 'dataset/split', nor a file .*'.parquet'"
    with pytest.raises(ValueError, match=told):
        load(train=(name,), test=mine["test"])


def test_what_is_said_of_own_questions_is_refused_where_there_are_none():
    reading = own.Reading(given=("data.rules.percent=True",))
    for task in ("problems", "arithmetic"):
        with pytest.raises(ValueError, match="^data.rules.percent=True is about quest"):
            load(task, reading=reading)


def test_a_public_dataset_is_prepared_at_first_use(tmp_path, monkeypatch, mine):
    source = layout.files("gsm8k", tmp_path)
    table = {**origins.DATASETS, "gsm8k": layout.dataset("gsm8k")}
    monkeypatch.setattr(origins, "DATASETS", table)
    places = dict(directory=str(tmp_path / "data"), source=str(source))
    task = load("gsm8k", **places)
    assert [item.answer for item in task.split("train")] == ["1200", "3"]
    assert task.split("test")[0].id == "gsm8k/test/0"
    mixed = load("gsm8k", train=("gsm8k/train", *mine["train"]), **places)
    assert [item.uid for item in mixed.split("train")] == list(range(6))
    # Its records are files of the run, and the same wherever they are prepared.
    again = load("gsm8k", **{**places, "directory": str(tmp_path / "again")})
    names = [path.name.partition(".")[0] for path in task.files]
    assert names == ["gsm8k-train", "gsm8k-test"]
    one, other = ([p.read_bytes() for p in each.files] for each in (task, again))
    assert one == other and task.files != again.files


def test_a_task_in_other_words_is_found_by_its_name(tmp_path, monkeypatch):
    layout.files("mbpp", tmp_path / "source")
    layout.files("mbppplus", tmp_path / "source")
    table = {name: layout.dataset(name) for name in ("mbpp", "mbppplus")}
    text = "Write a function to find twice a number."
    told = tmp_path / "source" / "mbppplus" / table["mbppplus"].files[0].name
    (row,) = layout.lines(layout.FIXTURES / "mbppplus" / f"{told.name}.jsonl")
    layout.parquet(told, [{**row, "prompt": text}])
    monkeypatch.setattr(origins, "DATASETS", {**origins.DATASETS, **table})
    with pytest.raises(ValueError, match="all of it is in data.test"):
        load(
            "mbpp",
            train=("mbpp/prompt",),
            test="mbppplus/test",
            directory=str(tmp_path / "data"),
            source=str(tmp_path / "source"),
        )


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("maths", {}, "data.task='maths' is not known; did you mean 'math'"),
        ("problems", {"test": "m/test"}, r"pick one of \['cmath', .* 'math', 'mbpp'\]"),
        ("arithmetic", {"source": "a"}, "questions: data.source must be empty"),
        ("arithmetic", {"train": "x"}, "must be a tuple"),
        ("arithmetic", {"test": "gsm8k/test"}, "say 'arithmetic.one_step/test'"),
        ("arithmetic", {"test": "arithmetic/dev"}, "'arithmetic/dev': split='dev'"),
        ("arithmetic", {"test": "arithmetic.a+b/test"}, "level='a' is not known"),
        ("arithmetic", {"train": ("arithmetic/test",)}, "sums are those of data.test"),
        ("math", {"train": "math/train"}, r"must be a tuple, \('math/train',\)"),
        ("math", {"weights": (1,)}, "data.weights=.1,.: it must be one number"),
        ("math", {"train": ("a", "b"), "weights": (1, 0)}, "data.weights=.1, 0."),
        ("math", {"test": "math/dev"}, "data.test='math/dev': split='dev'"),
        ("math", {"test": "mbpp/test"}, "'mbpp/test' is graded as code"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(task, options, message):
    with pytest.raises(ValueError, match=message):
        load(task, **options)


def test_a_training_split_that_is_the_test_split_is_refused(mine):
    with pytest.raises(ValueError, match="all of it is in data.test"):
        load(train=(mine["test"],), test=mine["test"])


def test_demonstrations_on_questions_of_the_test_are_left_out(mine, tmp_path):
    rows = [
        {"question": text, "answer": "1", "messages": {"actor": "one"}}
        for text in ("What is 3 + 3?", "What is 9+9?")
    ]
    path = str(layout.jsonl(tmp_path / "shown.jsonl", rows))
    task = tasks.demonstrated(load(**mine), path, ["actor"], NEAR)
    (shown,) = task.demonstrations
    assert shown == demonstrations.read(tmp_path / "shown.jsonl", ["actor"])[1]
    assert "2 demonstrations, 1 of them in the test split" in task.report


def test_every_item_is_frozen(mine):
    item = load(**mine).split("test")[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        item.text = "other"
