"""The questions of a task: read, kept apart, and short enough."""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Callable, Mapping, Sequence

from c3jax.core import checks
from c3jax.data import demonstrations, pipeline, rows, splits
from c3jax.data.builders import prepared
from c3jax.data.kinds import SPLITS, TASKS, Generator


@dataclasses.dataclass(frozen=True)
class Task:
    """Questions, checked and ready.

    Attributes:
        splits: "train", "test" and, if there is one, "validation" -> a random-access
            sequence of items, each with `uid`, `text`, `answer`, `id`, `entry_point`
            and `rules`.
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
        """The questions of "train", "test" or "validation"."""
        return self.splits[name]

    @property
    def measured(self) -> list[str]:
        """The splits that a team is measured on."""
        return [name for name in ("test", "validation") if name in self.splits]

    @property
    def watched(self) -> str:
        """The split that is looked at while a team learns."""
        return self.measured[-1]


def load(
    task: str,
    *,
    train: Sequence[str] = (),
    weights: Sequence[float] = (),
    test: str = "",
    validation: str | None = "",
    held_out: int = 0,
    directory: str = "",
    source: str = "",
    fields: Mapping[str, str],
    near: Mapping,
    check: Callable | None = None,
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
        validation: the split to be looked at meanwhile; "" for the task's own, or for a
            part of the training questions; None for none.
        held_out: questions of that part at most.
        directory: where prepared datasets are kept; "" for the usual place.
        source: a directory with the files of the datasets; "" to download them.
        fields: names of the fields in the user's own files; see `rows.own`.
        near: `action`, what becomes of training questions in another split, "drop",
            "keep" or "refuse", with `ngram` and `share` for `overlap.find`.
        check: (text of a program's tests, entry point) -> what is wrong with them, or
            None; for the user's own files.

    Raises:
        ValueError: what came, what was wanted, what to change.
    """
    # Generated questions come without files.
    kind = checks.pick(TASKS, task, "data.task")
    _check(task, train, weights, test, validation, source, near)
    if kind.generator is not None and not kind.generator.levels:
        names = SPLITS if validation is not None else ("train", "test")
        made = {name: kind.generator.split(name) for name in names}
        return Task(made, kind.reward, kind.generator, kind.reading)
    if kind.generator is not None:
        return _generated(task, kind, train, weights, test, validation, near)
    opened = functools.partial(_opened, task, kind, directory, source, fields, check)

    def apart(part: Sequence, split: str, field: str, name: str) -> tuple:
        kept, told = splits.apart(part, found[split], near, split)
        if not len(kept):
            raise ValueError(f"{field}={name!r}: all of it is in data.{split}.")
        return kept, told

    # The test split first: what overlaps with it is left out of the others.
    found, told = {"test": opened(test or kind.test, "data.test")}, []
    validation = kind.validation if validation == "" and not train else validation
    if validation:
        part = opened(validation, "data.validation")
        kept, shared = apart(part, "test", "data.validation", validation)
        found["validation"] = kept
        told.append(f"validation: {validation} {len(part):,} questions{shared}")

    # Then the training questions.
    parts, lines, first = [], [], 0
    for name in train or (kind.train,):
        part = opened(name, "data.train", first)
        first += len(part)
        lines.append(f"{name} {len(part):,} questions")
        for split in found:
            part, shared = apart(part, split, "data.train", name)
            lines[-1] += shared
        parts.append(part)
    if validation == "":
        held, parts, text = splits.held_out(parts, held_out, near)
        found["validation"] = held
        told.append(f"validation: {text}")
    found["train"] = pipeline.Mixture(parts, weights)
    told = [f"train: {'; '.join(lines)}", *told, f"test: {test or kind.test} "]
    report = f"{'. '.join(told)}{len(found['test']):,}"
    return Task(found, kind.reward, reading=kind.reading, report=report)


def _opened(
    task, kind, directory, source, fields, check, name: str, field: str, first=0
):
    """A split or a file, with addresses from `first` on; `field` is its config's."""
    if name.endswith(rows.ENDINGS):
        check = check if kind.reward == "code" else None
        return rows.own(pathlib.Path(name), fields, kind.rules, first, check)
    dataset, split = prepared.find(name, field)
    if dataset.reward != kind.reward:
        raise ValueError(
            f"{field}={name!r} is graded as {dataset.reward}, data.task={task!r} as "
            f"{kind.reward}; a run grades all its answers alike."
        )
    place = pathlib.Path(directory) if directory else prepared.default_directory()
    given = pathlib.Path(source) if source else None
    return prepared.split(dataset, split, place, given, first)


def unread(task: str) -> Task:
    """A task without its questions, for modes that ask none."""
    kind = checks.pick(TASKS, task, "data.task")
    return Task({}, kind.reward, kind.generator, kind.reading)


def _generated(task, kind, train, weights, test, validation, near) -> Task:
    """The questions of a task with levels."""

    def read(name: str, field: str) -> tuple[str, Sequence[str]]:
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
        return split, levels

    # Splits are disjoint, so a question is in two only if they are the same split.
    test, train = test or kind.test, train or (kind.train,)
    measured = {"test": read(test, "data.test")}
    learned = {name: read(name, "data.train") for name in train}
    taken = [measured["test"][0], *(split for split, _ in learned.values())]
    if validation == "":
        free = [name for name in ("validation", "test", "train") if name not in taken]
        if not free:
            raise ValueError(
                f"data.validation='': data.train and data.test take all of {SPLITS}; "
                "take fewer, or say None, and the test questions are read instead."
            )
        validation = f"{test.partition('/')[0]}/{free[0]}"
    if validation:
        measured["validation"] = read(validation, "data.validation")
    for field, names in {"train": train, "validation": (validation,)}.items():
        for name, other in itertools.product(filter(None, names), measured):
            split = name.rpartition("/")[2]
            is_same = other != field and split == measured[other][0]
            if is_same and near["action"] != "keep":
                raise ValueError(
                    f"data.{field}={name!r}: its sums are those of data.{other}; name "
                    "another split, or say data.overlap.action='keep'."
                )

    # Training questions have addresses of their own.
    found = {n: kind.generator.split(*place, 0) for n, place in measured.items()}
    parts, first = [], 0
    for split, levels in (learned[name] for name in train):
        parts.append(kind.generator.split(split, levels, first))
        first += len(parts[-1])
    sizes = zip(train, parts, strict=True)
    lines = [f"{name} {len(part):,} questions" for name, part in sizes]
    told = [f"train: {'; '.join(lines)}"]
    if validation:
        told.append(f"validation: {validation} {len(found['validation']):,}")
    told.append(f"test: {test} {len(found['test']):,}")
    found["train"] = pipeline.Mixture(parts, weights)
    report = ". ".join(told)
    return Task(found, kind.reward, kind.generator, kind.reading, report=report)


def demonstrated(task: Task, path: str, roles: Sequence[str], near: Mapping) -> Task:
    """A task with demonstrations of the user's own.

    Args:
        path: their file; see `demonstrations.read`.
        near: what happens to demonstrations on questions that are measured, as in
            `load`.

    Raises:
        ValueError: the file is malformed, or all of it is in another split.
    """
    kept = given = demonstrations.read(pathlib.Path(path), roles)
    line = f"{path} {len(given):,} demonstrations"
    for split in task.measured:
        kept, shared = splits.apart(kept, task.split(split), near, split)
        line += shared
    if not len(kept):
        raise ValueError(
            f"warm_start.demonstrations={path!r}: all are in data.test or "
            "data.validation."
        )
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
    dropped, lengths = {}, {name: [] for name in task.splits}

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

    # Every source of training questions, and what is measured.
    train = task.split("train")
    parts = [short_enough(part, "train") for part in train.parts]
    found = {"train": pipeline.Mixture(parts, train.weights)}
    for name in task.measured:
        found[name] = short_enough(task.split(name), name)
    if not all(len(part) for part in (*parts, *found.values())):
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
    return dataclasses.replace(
        task, splits=found, report=report, dropped=dropped, lengths=lengths
    )


def _check(task, train, weights, test, validation, source, near) -> None:
    """Refuses values that are wrong whatever the questions are."""
    generator, given = TASKS[task].generator, {"data.source": source}
    if generator is not None and not generator.levels:
        given |= {"data.train": train, "data.weights": weights, "data.test": test}
        given |= {"data.validation": validation}
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
