"""The table of estimators: one name, one pure function, the evidence it needs.

An estimator maps `Evidence` to one advantage [B, N, K] a role. A config names it; a
team or evidence that does not fit is refused here, before any device is touched.
"""

import dataclasses
import functools
import importlib.util
import inspect
import itertools
import math
import pathlib
import typing
from collections.abc import Callable, Collection, Mapping

import numpy as np

from c3jax.core import checks, types
from c3jax.credit import actor_critic, baselines, dyad, removal, shrunk

Ancestors = tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class Estimator:
    """One way to assign credit.

    Attributes:
        fn: (evidence, memory, **options) -> (advantages, memory).
        plan: the trees it is defined on, a key of `PLANS`.
        needs: fields of `Evidence` that it reads besides the rewards.
        team: the teams it is defined on, a key of `TEAMS`.
        memory: makes its memory before the first step, given each role's ancestors; ()
            for an estimator without one.
        per_question: whether the credit of a question depends on no other question, so
            that it is known before the others are scored; then there is no memory.
    """

    fn: Callable
    plan: str
    needs: tuple[str, ...] = ()
    team: str = "any"
    memory: Callable[[Ancestors], object] = lambda ancestors: ()
    per_question: bool = True

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """Its options with defaults: the keyword-only parameters of `fn`."""
        parameters = inspect.signature(self.fn).parameters.values()
        return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}


def _memoryless(fn):
    @functools.wraps(fn)
    def call(evidence, memory, **options):
        return fn(evidence, **options), memory

    return call


ESTIMATORS = {
    "c3": Estimator(_memoryless(baselines.c3), "siblings"),
    "c3_vine": Estimator(_memoryless(baselines.c3_vine), "vine"),
    "c3_full_mean": Estimator(_memoryless(baselines.c3_full_mean), "siblings"),
    "c3_no_replay": Estimator(_memoryless(baselines.c3_no_replay), "episodes"),
    "c3_shrunk": Estimator(
        shrunk.c3_shrunk, "tree", memory=shrunk.no_moments, per_question=False
    ),
    "c3_value_assisted": Estimator(
        _memoryless(baselines.c3_value_assisted), "siblings", needs=("q",)
    ),
    "c3_value_only": Estimator(
        _memoryless(baselines.c3_value_only), "siblings", needs=("q",)
    ),
    "magrpo": Estimator(_memoryless(baselines.magrpo), "episodes"),
    "rloo": Estimator(_memoryless(baselines.rloo), "episodes"),
    "mappo": Estimator(
        _memoryless(actor_critic.mappo),
        "episodes",
        needs=("value",),
        per_question=False,
    ),
    "agent_removal": Estimator(
        _memoryless(removal.agent_removal), "episodes", needs=("without",)
    ),
    "ccpo_v1": Estimator(
        dyad.ccpo_v1,
        "episodes",
        needs=("solo",),
        team="dyad",
        memory=lambda ancestors: dyad.no_history(),
        per_question=False,
    ),
    "ccpo": Estimator(
        _memoryless(dyad.ccpo),
        "episodes",
        needs=("solo",),
        team="dyad",
        per_question=False,
    ),
    "ccpo_vote": Estimator(
        _memoryless(removal.ccpo_vote),
        "votes",
        needs=("ballots", "correct"),
        team="vote",
    ),
    "sepo": Estimator(
        _memoryless(dyad.sepo), "episodes", needs=("ratings",), team="dyad"
    ),
}

# What each kind of estimator compares, for messages.
PLANS = {
    "siblings": "compares siblings",
    "vine": "compares alternatives along one episode",
    "tree": "compares messages of one question",
    "episodes": "compares independent episodes",
    "votes": "combines the alternatives of voters",
}

TEAMS = {
    "any": "any team",
    "dyad": "one role that reads nothing and one that reads it",
    "vote": "two or more roles that read nothing and a last one that reads them all",
}


def find(name: str, field: str = "credit.name") -> Estimator:
    """An estimator of the table, or one of your own.

    A file is named where it is used, and not registered in one process, so that every
    process of a run finds it: the certificate, an audit, the cells of a comparison.

    Args:
        name: a key of `ESTIMATORS`, or FILE.py:NAME of an `Estimator` in a file.
        field: the config's field that has the name, for messages.

    Raises:
        ValueError: there is none, or it is something else.
    """
    file, colon, own = str(name).rpartition(":")
    return _own(file, own, field) if colon else checks.pick(ESTIMATORS, name, field)


def _own(file: str, name: str, field: str) -> Estimator:
    field = f"{field}='{file}:{name}'"
    path = pathlib.Path(file)
    if path.suffix != ".py" or not path.is_file():
        raise ValueError(
            f"{field}: there is no such Python file; write FILE.py:NAME of an "
            "estimator of your own, or a name of docs/methods.md."
        )
    names = _executed(path)
    there = {k: v for k, v in names.items() if isinstance(v, Estimator)}
    if name not in names:
        raise ValueError(f"{field}: there is no such name; {file} has {sorted(there)}.")
    if name not in there:
        raise ValueError(
            f"{field} is {names[name]!r:.60}; wanted is a c3jax.credit.api.Estimator."
        )
    estimator = there[name]
    checks.pick(PLANS, estimator.plan, f"{field}: plan")
    return estimator


@functools.cache
def _executed(path: pathlib.Path) -> dict[str, object]:
    """The names that a Python file defines; it is executed once in a process."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


def try_out(
    name: str, estimator: Estimator, ancestors: Ancestors, branching: tuple[int, ...]
) -> None:
    """Calls an estimator on made-up rewards, before a run depends on it.

    Args:
        name: see `find`.
        estimator: its options bound. One that needs more than the rewards of a whole
            tree is not called.
        ancestors: per role, the indices of its ancestors.
        branching: alternatives per role.

    Raises:
        ValueError: it does not return (advantages, memory), an array [B, N, K] a role.
    """
    if estimator.needs or estimator.plan in ("vine", "votes"):
        return
    reward = np.random.default_rng(0).random((2, *branching), np.float32)
    evidence = types.Evidence(reward, ancestors)
    result = estimator.fn(evidence, estimator.memory(ancestors))
    shapes = [
        (2, math.prod(branching[axis] for axis in above), branching[level])
        for level, above in enumerate(ancestors)
    ]
    try:
        advantages, _ = result
        returned = [np.shape(advantage) for advantage in advantages]
    except (TypeError, ValueError):
        returned = f"{result!r:.60}"
    if returned != shapes:
        raise ValueError(
            f"credit.name={name!r}: wanted are (advantages, memory) with arrays of "
            f"shapes {shapes} for these roles, but it returned {returned}."
        )


def options() -> dict[str, type]:
    """The options of all estimators, each with the type of its values.

    Options of one name in two estimators have one type.
    """
    tables = (estimator.options.items() for estimator in ESTIMATORS.values())
    parameters = dict(itertools.chain.from_iterable(tables))
    return {name: type(parameters[name].default) for name in sorted(parameters)}


def configured(name: str, given: Mapping[str, object]) -> Estimator:
    """An estimator with its options bound.

    Args:
        name: see `find`.
        given: options by name; None leaves one at its default.

    Raises:
        ValueError: no such estimator, an option it does not have, or a value that the
            option cannot have.
    """
    estimator = find(name)
    options = estimator.options
    chosen = {key: value for key, value in given.items() if value is not None}
    for key, value in chosen.items():
        if key not in options:
            raise ValueError(
                f"credit.{key}={value!r} is read by nobody: the options of "
                f"credit.name={name!r} are {sorted(options)}; leave it out, or "
                "set it to None."
            )
        _check_option(options[key], value)
    return dataclasses.replace(estimator, fn=functools.partial(estimator.fn, **chosen))


def _check_option(option: inspect.Parameter, value) -> None:
    """Refuses a value whose type is not that of the option's default."""
    field = f"credit.{option.name}"
    if choices := typing.get_args(option.annotation):
        wanted = f"one of {list(choices)}"
        checks.require(value in choices, field, value, wanted)
    elif isinstance(option.default, bool):
        checks.require(isinstance(value, bool), field, value, "True or False")
    else:
        whole = isinstance(option.default, int)
        kinds = (int,) if whole else (int, float)
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        wanted = "a whole number, 0 or more" if whole else "a number, 0 or more"
        checks.require(fits and 0 <= value < math.inf, field, value, wanted)


def check(name: str, ancestors: Ancestors, gathered: Collection[str] = ()) -> None:
    """Refuses a team that an estimator is not defined on.

    Args:
        name: see `find`.
        ancestors: per role, the indices of its ancestors.
        gathered: fields of `Evidence` that the caller supplies besides the rewards.

    Raises:
        ValueError: the team has another shape, its episodes are not independent, or
            the estimator needs evidence that is not gathered.
    """
    estimator = find(name)

    # The shape of the team.
    fits = {
        "any": True,
        "dyad": ancestors == ((), (0,)),
        "vote": len(ancestors) > 2
        and not any(ancestors[:-1])
        and ancestors[-1] == tuple(range(len(ancestors) - 1)),
    }[estimator.team]
    if not fits:
        raise ValueError(
            f"credit.name={name!r} is defined for {TEAMS[estimator.team]}; here each "
            f"of {len(ancestors)} roles depends on {[*map(list, ancestors)]}."
        )

    # Episodes are independent only if they part at the first role.
    apart = [level for level, above in enumerate(ancestors) if level and 0 not in above]
    if estimator.plan == "episodes" and apart:
        raise ValueError(
            f"credit.name={name!r} compares independent episodes, which branch at the "
            f"first role; roles {apart} do not read it, so all episodes of a question "
            "would share one message of theirs. Take an estimator of trees, say 'c3'."
        )

    # Evidence besides the rewards.
    if missing := sorted(set(estimator.needs) - set(gathered)):
        computable = [n for n, e in ESTIMATORS.items() if {*gathered} >= {*e.needs}]
        raise ValueError(
            f"credit.name={name!r} is computed from {missing}, which a run does not "
            f"gather; {checks.suggest(name, computable)}"
        )
