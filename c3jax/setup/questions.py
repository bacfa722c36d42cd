"""The questions that the section `data` of a config asks for, checked when read."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

from c3jax.core import checks, types
from c3jax.data import kinds, own, tasks
from c3jax.reward import code, golds
from c3jax.setup import prompt_lengths


def load(config, count: Callable, roles: Sequence[types.Role]) -> tasks.Task:
    """The questions, prepared if they were not, with a report of them printed.

    Args:
        count: texts -> tokens of each in the role where it has most.
        roles: of the team.

    Raises:
        ValueError: what came, what was wanted, what to change.
    """
    c, writers = config.data, [role.name for role in roles if not role.counts]
    task = tasks.load(
        c.task,
        train=c.train,
        weights=c.weights,
        test=c.test,
        validation=c.validation,
        held_out=config.evaluate.questions,
        directory=c.directory,
        source=c.source,
        reading=reading(config),
        near=c.overlap,
    )

    # Those that fit, and demonstrations for them.
    task = tasks.fitting(task, count, prompt_lengths.limit(c.prompt_tokens), c.overlong)
    if demonstrated := config.warm_start.demonstrations:
        task = tasks.demonstrated(task, demonstrated, writers, c.overlap)
    if task.report:
        print(task.report, flush=True)

    # Intervals need two.
    for name in task.measured:
        if len(task.split(name)) < 2:
            raise ValueError(
                f"data.{name}={c[name]!r} has 1 question, and an interval needs 2 or "
                "more: name a split or a file with more"
                + (", or say None." if name == "validation" else ".")
            )
    test, asked = len(task.split("test")), config.evaluate.questions
    checks.require(
        2 <= asked <= test, "evaluate.questions", asked, f"between 2 and {test}"
    )
    return task


def reading(config) -> own.Reading:
    """How questions of the user's own are read: what may be said of them, and refused.

    Raises:
        ValueError: a field says what the task's answers do not have.
    """
    c, kind = config.data, kinds.TASKS[config.data.task]
    allowed = {name: value for name, value in c.rules.items() if value is not None}
    given = [f"data.rules.{name}={value!r}" for name, value in allowed.items()]
    given += [f"data.answer={c.answer!r}"] if c.answer != golds.WHOLE else []
    if kind.reward == "code" and given:
        raise ValueError(
            f"{given[0]}: the answers of data.task={c.task!r} are programs, which "
            "tests judge; leave it out, or take a task with mathematical answers, "
            "say 'math'."
        )
    if bool(c.fields.inputs) != bool(c.fields.outputs):
        raise ValueError(
            f"data.fields.inputs={c.fields.inputs!r} and "
            f"data.fields.outputs={c.fields.outputs!r}: name both fields, or neither."
        )
    fallback = tuple(config.reward.fallback)
    rules = dataclasses.replace(kind.rules, fallback=fallback, **allowed)
    return own.Reading(
        fields=c.fields,
        programs=kind.reward == "code",
        rules=rules,
        gold=functools.partial(golds.reduced, place=c.answer),
        unmet=_unmet(kind, rules, config.reward.tests),
        given=tuple(given),
    )


def _unmet(
    kind: kinds.Kind, rules: types.Rules, tests: str
) -> Callable[[str, str], str]:
    """What refuses rows of the user's own whose every answer would earn 0."""
    match kind.reward:
        case "math":
            return lambda answer, entry_point: golds.unmet(answer, rules)
        case "code":
            return functools.partial(code.problem, tests=tests)
    return lambda answer, entry_point: ""  # A reward of the user's own knows.
