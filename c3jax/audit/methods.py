"""The sizes of an audit, and the methods whose credit it examines."""

import dataclasses
from collections.abc import Callable

import jax

from c3jax.audit import figures
from c3jax.core import config as checks
from c3jax.core import mesh as meshes
from c3jax.core import metrics
from c3jax.credit import api
from c3jax.data import pipeline
from c3jax.train import critics, defaults, fields, growth, scoring, update
from c3jax.train import setup as setups


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much is sampled.

    Attributes:
        questions: contexts frozen for each role, one a question.
        batch_size: contexts grown at a time.
        candidates: messages sampled from each context.
        continuations: how often the team continues each candidate; the last role's
            answers are scored as they are.
        extra: further messages, each continued once, for the value of the context.
        fit: training steps' worth of trees from which a method learns its critic or
            statistics, if the run has none.
        methods: names of the estimators that are examined.
    """

    questions: int
    batch_size: int
    candidates: int
    continuations: int
    extra: int
    fit: int
    methods: tuple[str, ...]

    @property
    def batches(self) -> range:
        """Where each batch of questions begins."""
        return range(0, self.questions, self.batch_size)


@dataclasses.dataclass(frozen=True)
class Method:
    """An estimator as the run would train with it from here on.

    Attributes:
        setup: the run, with this estimator in place of its own.
        state: the run's policies, with the method's memory and critic.
    """

    setup: setups.Setup
    state: update.TrainState


def plan(asked, setup: setups.Setup) -> Plan:
    """The plan of a config, checked against the run.

    Args:
        asked: the section `audit` of the config.
        setup: the audited run.

    Raises:
        ValueError: what came, what was wanted, what to change.
    """
    fields.check(asked, defaults.AUDIT.fields["audit"], "audit")
    names = [field.name for field in dataclasses.fields(Plan)]
    given = {name: asked[name] for name in names}
    listed = given.pop("methods").strip("[]() ").replace("'", "").replace('"', "")
    named = tuple(name.strip() for name in listed.split(",") if name.strip())
    plan = Plan(**given, methods=named or _usual(setup, given["candidates"]))
    count, least = plan.questions, figures.LEAST
    checks.require(count >= least, "audit.questions", count, f"{least} or more")
    parts = meshes.batch_size(setup.mesh)
    if plan.questions % plan.batch_size or plan.batch_size % parts:
        raise ValueError(
            f"audit.questions={plan.questions} and audit.batch_size={plan.batch_size}: "
            f"the first must be a multiple of the second, and that one of {parts}, the "
            "devices that share a batch."
        )
    there = len(setup.task.split("test"))
    if plan.questions > there:
        raise ValueError(
            f"audit.questions={plan.questions}, but there are {there} test questions; "
            "ask for fewer."
        )
    return plan


def _usual(run: setups.Setup, candidates: int) -> tuple[str, ...]:
    """The run's own method, C3 and MAGRPO, as far as they fit the run."""
    own = run.config.credit.name
    found = [] if api.ESTIMATORS[own].plan == "comb" else [own]
    for name in ("c3", "magrpo"):
        try:
            if name != own:
                method(run, name, candidates)
                found.append(name)
        except ValueError:  # Not of this team or tree; who names it is told why.
            continue
    return tuple(found)


def method(run: setups.Setup, name: str, candidates: int) -> setups.Setup:
    """A run like another, but for how it assigns credit.

    The run's own method is as the run has it, any other as it is by default.

    Args:
        run: the audited run.
        name: a key of `api.ESTIMATORS`.
        candidates: messages of a context that it will credit.

    Raises:
        ValueError: the method does not fit the team, or the number of candidates.
    """
    checks.pick(api.ESTIMATORS, name, "audit.methods")
    if api.ESTIMATORS[name].plan == "comb":
        raise ValueError(
            f"audit.methods: {name!r} compares siblings as 'c3' does, but grows them "
            "along one episode, which is no tree around a context; audit 'c3'."
        )
    try:
        found = run if name == run.config.credit.name else _resolved(run, name)
    except ValueError as error:
        raise ValueError(f"audit.methods: no {name!r} here: {error}") from None
    for level in range(len(found.spans)):
        size = found.team.protocol.branching[level]
        if candidates % size:
            role = found.team.protocol.roles[level].name
            raise ValueError(
                f"audit.candidates={candidates}: {name!r} compares messages of "
                f"{role} {size} at a time; take a multiple of that."
            )
    return found


def _resolved(run: setups.Setup, name: str) -> setups.Setup:
    """A run like another, with a method of all defaults."""
    config = run.config.copy_and_resolve_references()
    with config.unlocked(), config.ignore_type():
        config.credit.update({**dict.fromkeys(config.credit), "name": name})
        config.protocol.branching = config.protocol.continuations = None
    return setups.resolve(config, list(run.mesh.devices.flat))


def learned(
    setup: setups.Setup,
    run: setups.Setup,
    state: update.TrainState,
    plan: Plan,
    scorer: scoring.Scorer,
    stop: Callable[[], bool] = lambda: False,
) -> Method:
    """A method with its critic or statistics, learned if the run has none.

    Args:
        setup: the run with this method, from `method`.
        run: the audited run.
        state: the audited run's state.
        plan: `fit` is read, the steps to learn for.
        scorer: scores the answers.
        stop: as for `desks.grow`.
    """
    if setup.config.credit.name == run.config.credit.name:
        return Method(setup, state)
    memory = setup.estimator.memory(setup.spans)
    state = state.replace(
        memory=jax.device_put(memory, meshes.whole(setup.mesh)),
        critic=critics.initial_state(setup, state.params),
    )
    if setup.critic is None and not jax.tree.leaves(memory):
        return Method(setup, state)
    c, learn, watch = setup.config, critics.compiled(setup), metrics.Stopwatch()
    source = pipeline.order(setup.task.split("train"), c.seed)
    size, progress = c.train.batch_size, metrics.Progress(c.credit.name, plan.fit)
    batches = pipeline.Batches(source, size, growth.share(setup))
    for step in range(plan.fit):
        items = batches[step * size]
        rollout = growth.sample(setup, state, step, items, scorer, watch, stop)
        evidence = growth.seen(setup, growth.score(rollout)[0])
        critic, _ = learn(state.critic, rollout, evidence)
        _, memory = growth.credit(setup, rollout, state.memory)
        state = state.replace(memory=memory, critic=critic)
        progress.show(step + 1)
    return Method(setup, state)
