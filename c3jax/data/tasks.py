"""The table of tasks: sources of questions, their graders, their demonstrators."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

from c3jax.core import checks
from c3jax.core.types import EXACT, Rules
from c3jax.data import (
    arithmetic,
    demonstrations,
    overlap,
    pipeline,
    problems,
    programs,
    rows,
)
from c3jax.data.builders import origins, prepared


@dataclasses.dataclass(frozen=True)
class Generator:
    """Generated questions, and demonstrations of answering them.

    Attributes:
        split: name -> a random-access sequence of items; where there are levels,
            (name, some of the levels, uid of the first item) -> the same.
        demonstrate: (item, rng, carelessness) -> a `problems.Demonstration`.
        careless: how often demonstrations go wrong.
        levels: names of how hard questions may be, for `data.train` and `data.test` to
            choose from; () for one kind of question, in words that all fit.
    """

    split: Callable[..., Sequence]
    demonstrate: Callable
    careless: type
    levels: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Kind:
    """An entry of the table.

    Attributes:
        train: "dataset/split" to train on.
        test: "dataset/split" to be measured on.
        reward: the grader of answers, "math" or "code".
        rules: what is allowed in an answer to a question of the user's own.
        generator: makes the questions; None for questions read from files.
        reading: a second reading of answers in evaluation, a key of
            `reward.math.READINGS`, that separates content from form; "" for none.
    """

    train: str
    test: str
    reward: str = "math"
    rules: Rules = EXACT
    generator: Generator | None = None
    reading: str = ""


def _kind(train: str, test: str) -> Kind:
    """A task whose own questions are graded like those of its test split."""
    dataset = origins.DATASETS[test.partition("/")[0]]
    return Kind(train, test, dataset.reward, dataset.rules)


TASKS = {
    "problems": Kind(
        "problems/train",
        "problems/test",
        generator=Generator(
            problems.Problems, problems.demonstrate, problems.Carelessness
        ),
    ),
    "programs": Kind(
        "programs/train",
        "programs/test",
        reward="code",
        generator=Generator(
            programs.Programs, programs.demonstrate, programs.Carelessness
        ),
    ),
    "arithmetic": Kind(
        "arithmetic.one_step/train",
        "arithmetic.one_step/test",
        generator=Generator(
            arithmetic.Arithmetic,
            arithmetic.demonstrate,
            problems.Carelessness,
            tuple(arithmetic.LEVELS),
        ),
        reading="any_number",
    ),
    "math": _kind("math/train", "math500/test"),
    "gsm8k": _kind("gsm8k/train", "gsm8k/test"),
    "cmath": _kind("cmath/validation", "cmath/test"),
    "logiqa": _kind("logiqa/train", "logiqa/test"),
    "mbpp": _kind("mbpp/train", "mbpp/test"),
}
# The splits of generated questions.
SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Task:
    """Questions, checked and ready.

    Attributes:
        splits: "train" and "test" -> a random-access sequence of items, each with
            `uid`, `text`, `answer`, `id`, `entry_point` and `rules`.
        reward, generator, reading: as in `Kind`.
        report: what is in the splits and what was left out, in words.
        dropped: per split, questions that were too long.
        lengths: per split, tokens of each question in the role where it has most; {}
            if they were not counted.
        demonstrations: those of the user's own file, instead of the generator's.
    """

    splits: Mapping[str, Sequence]
    reward: str
    generator: Generator | None = None
    reading: str = ""
    report: str = ""
    dropped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    lengths: Mapping[str, Sequence[int]] = dataclasses.field(default_factory=dict)
    demonstrations: Sequence = ()

    def split(self, name: str) -> Sequence:
        """The questions of "train" or of "test"."""
        return self.splits[name]


def load(
    task: str,
    *,
    train: Sequence[str] = (),
    weights: Sequence[float] = (),
    test: str = "",
    directory: str = "",
    source: str = "",
    fields: Mapping[str, str],
    near: Mapping,
) -> Task:
    """The questions that the section `data` of a config asks for.

    A split is "dataset/split" of `origins.DATASETS`, or a file of the user's own. For a
    task with levels it is "task/split" or "task.level/split", or, for several levels
    that take turns, "task.level+level/split".

    Args:
        task: a key of `TASKS`.
        train: splits to train on; () for the task's own.
        weights: how often each is drawn from; () for every question equally often.
        test: the split to be measured on; "" for the task's own.
        directory: where prepared datasets are kept; "" for the usual place.
        source: a directory with the files of the datasets; "" to download them.
        fields: names of the fields in the user's own files; see `rows.own`.
        near: `action`, what becomes of training questions in the test split, "drop",
            "keep" or "refuse", with `ngram` and `share` for `overlap.find`.

    Raises:
        ValueError: what came, what was wanted, what to change.
    """
    # Generated questions come without files.
    kind = checks.pick(TASKS, task, "data.task")
    _check(task, train, weights, test, source, near)
    if kind.generator is not None and not kind.generator.levels:
        splits = {name: kind.generator.split(name) for name in ("train", "test")}
        return Task(splits, kind.reward, kind.generator, kind.reading)
    if kind.generator is not None:
        return _generated(task, kind, train or (kind.train,), weights, test, near)
    place = pathlib.Path(directory) if directory else prepared.default_directory()
    given = pathlib.Path(source) if source else None

    def opened(name: str, field: str, first: int) -> Sequence:
        if name.endswith(rows.ENDINGS):
            return rows.own(pathlib.Path(name), fields, kind.rules, first)
        dataset, split = prepared.find(name, field)
        if dataset.reward != kind.reward:
            raise ValueError(
                f"{field}={name!r} is graded as {dataset.reward}, data.task={task!r} "
                f"as {kind.reward}; a run grades all its answers alike."
            )
        return prepared.split(dataset, split, place, given, first)

    # The test split first: training questions that overlap with it are left out.
    tested = opened(test or kind.test, "data.test", 0)
    parts, lines, first = [], [], 0
    for name in train or (kind.train,):
        part = opened(name, "data.train", first)
        first += len(part)
        kept, shared = _kept(part, tested, near)
        if not len(kept):
            raise ValueError(f"data.train={name!r}: all of it is in data.test.")
        parts.append(kept)
        lines.append(f"{name} {len(part):,} questions{_told(shared, near['action'])}")
    report = f"train: {'; '.join(lines)}. test: {test or kind.test} {len(tested):,}"
    splits = {"train": pipeline.Mixture(parts, weights), "test": tested}
    return Task(splits, kind.reward, reading=kind.reading, report=report)


def unread(task: str) -> Task:
    """A task without its questions, for modes that ask none."""
    kind = checks.pick(TASKS, task, "data.task")
    return Task({}, kind.reward, kind.generator, kind.reading)


def _generated(task, kind, train, weights, test, near) -> Task:
    """The questions of a task with levels."""

    def opened(name: str, field: str, first: int) -> tuple[str, Sequence]:
        place, _, split = name.partition("/")
        own, _, given = place.partition(".")
        if own != task:
            raise ValueError(
                f"{field}={name!r}: data.task={task!r} generates its questions; name "
                f"a split of them, say {kind.test!r}."
            )
        levels = given.split("+") if given else kind.generator.levels
        for level in levels:
            known = dict.fromkeys(kind.generator.levels)
            checks.pick(known, level, f"{field}={name!r}: level")
        checks.pick(dict.fromkeys(SPLITS), split, f"{field}={name!r}: split")
        return split, kind.generator.split(split, levels, first)

    test_split, tested = opened(test or kind.test, "data.test", 0)
    parts, lines, first = [], [], 0
    for name in train:
        # Splits are disjoint, so only the test split itself overlaps with it.
        split, part = opened(name, "data.train", first)
        if split == test_split and near["action"] != "keep":
            raise ValueError(
                f"data.train={name!r}: its sums are those of data.test; name another "
                "split, or say data.overlap.action='keep'."
            )
        first += len(part)
        parts.append(part)
        lines.append(f"{name} {len(part):,} questions")
    report = f"train: {'; '.join(lines)}. test: {test or kind.test} {len(tested):,}"
    splits = {"train": pipeline.Mixture(parts, weights), "test": tested}
    return Task(splits, kind.reward, kind.generator, kind.reading, report=report)


def demonstrated(task: Task, path: str, roles: Sequence[str], near: Mapping) -> Task:
    """A task with demonstrations of the user's own.

    Args:
        path: their file; see `demonstrations.read`.
        near: what happens to demonstrations on test questions, as in `load`.

    Raises:
        ValueError: the file is malformed, or all of it is in the test split.
    """
    given = demonstrations.read(pathlib.Path(path), roles)
    kept, shared = _kept(given, task.split("test"), near)
    if not len(kept):
        raise ValueError(f"warm_start.demonstrations={path!r}: all are in data.test.")
    line = f"{path} {len(given):,} demonstrations{_told(shared, near['action'])}"
    report = f"{task.report}. {line}" if task.report else line
    return dataclasses.replace(task, demonstrations=kept, report=report)


def fitting(
    task: Task, count: Callable[[list[str]], Sequence[int]], limit: int, overlong: str
) -> Task:
    """A task without questions that are too long or hold unknown words.

    The lengths of the questions that stay are kept. Generated questions in words of an
    embedded tokenizer all fit.

    Args:
        count: for each text, its tokens in the role where it has most.
        limit: tokens that a role can read.
        overlong: "drop" leaves them out, "refuse" does not go on.

    Raises:
        ValueError: there are some and they are refused, or nothing is left.
    """
    if task.generator is not None and not task.generator.levels:
        return task
    dropped, lengths = {}, {"train": [], "test": []}

    def short_enough(part: Sequence, name: str) -> Sequence:
        sizes = count([item.text for item in part])
        places = [place for place, length in enumerate(sizes) if length <= limit]
        lengths[name] += [sizes[place] for place in places]
        dropped[name] = dropped.get(name, 0) + len(part) - len(places)
        if len(places) == len(part):
            return part
        if overlong == "refuse":
            first = part[next(n for n, length in enumerate(sizes) if length > limit)]
            raise ValueError(
                f"data.overlong='refuse': {len(part) - len(places)} {name} questions "
                f"are longer than {limit} tokens with their instruction, or have a "
                f"word that the tokenizer does not know, the first of them {first.id!r}"
                ". Raise data.prompt_tokens, or say 'drop'."
            )
        return pipeline.Selected(part, places)

    # The test split and every source of training questions.
    train, test = task.split("train"), short_enough(task.split("test"), "test")
    parts = [short_enough(part, "train") for part in train.parts]
    if not all(len(part) for part in (*parts, test)):
        raise ValueError(
            f"no question fits: {dropped} are longer than {limit} tokens with their "
            "instruction, or have a word that the tokenizer does not know; raise "
            "data.prompt_tokens, or take another tokenizer."
        )

    # Dropped questions are reported.
    report = task.report
    if any(dropped.values()):
        counts = ", ".join(f"{n} of {name}" for name, n in dropped.items() if n)
        report += f". Longer than {limit} tokens, or unknown words, left out: {counts}"
    splits = {"train": pipeline.Mixture(parts, train.weights), "test": test}
    return dataclasses.replace(
        task, splits=splits, report=report, dropped=dropped, lengths=lengths
    )


def _kept(part: Sequence, tested: Sequence, near: Mapping):
    """A part of the training questions without those of the test; and the overlap."""
    train, test = list(part), list(tested)
    shared = overlap.find(
        [item.text for item in train],
        [item.text for item in test],
        near["ngram"],
        near["share"],
    )
    shared = overlap.named(shared, [*map(_called, train)], [*map(_called, test)])
    if near["action"] == "refuse" and shared.places:
        first = part[min(shared.places)]
        raise ValueError(
            f"data.overlap.action='refuse': {len(shared.places)} training questions "
            f"are in the test split ({shared}), the first of them {first.id!r}. Say "
            "'drop' to leave them out."
        )
    if near["action"] == "drop" and shared.places:
        places = [place for place in range(len(part)) if place not in shared.places]
        part = pipeline.Selected(part, places)
    return part, shared


def _called(item: rows.Item) -> str:
    """The name of a published question in its family; "" for one's own."""
    dataset = origins.DATASETS.get(item.id.partition("/")[0])
    return dataset.called(item.id) if dataset else ""


def _told(shared: overlap.Overlap, action: str) -> str:
    """The report's words for training questions that are in the test split."""
    if not shared.places:
        return ", none of them in the test split"
    outcome = "left out" if action == "drop" else "kept"
    return f", {len(shared.places)} of them in the test split ({shared}) and {outcome}"


def _check(task, train, weights, test, source, near) -> None:
    """Refuses values that are wrong whatever the questions are."""
    generator, given = TASKS[task].generator, {"data.source": source}
    if generator is not None and not generator.levels:
        given |= {"data.train": train, "data.weights": weights, "data.test": test}
    if generator is not None and any(given.values()):
        read = sorted(name for name, kind in TASKS.items() if kind.generator is None)
        raise ValueError(
            f"data.task={task!r} generates its questions: {', '.join(sorted(given))} "
            f"must be empty. For published questions or your own, pick one of {read}."
        )
    if isinstance(train, str):
        raise ValueError(f"data.train={train!r}: it must be a tuple, ({train!r},).")
    checks.require(
        not weights or (len(weights) == len(train) and min(weights) > 0),
        "data.weights",
        tuple(weights),
        f"one number above 0 for each of data.train={tuple(train)}",
    )
