"""The sizes of an audit, and the methods whose credit it examines."""

import dataclasses
from collections.abc import Callable

import jax

from c3jax.audit import diagnostics
from c3jax.collect import rollouts, scorers
from c3jax.core import checks, metrics, sharding
from c3jax.credit import api
from c3jax.data import pipeline
from c3jax.learn import critic_update
from c3jax.setup import defaults, experiment, fields, train_state


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much is sampled.

    Attributes:
        questions: contexts frozen for each role, one a question.
        batch_size: contexts sampled at a time.
        candidates: messages sampled from each context.
        continuations: how often the team continues each candidate; a message of the
            last role is scored directly.
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
        """The index of the first question of each batch."""
        return range(0, self.questions, self.batch_size)


@dataclasses.dataclass(frozen=True)
class Method:
    """An estimator as the run would train with it from here on.

    Attributes:
        setup: the run, with this estimator in place of its own.
        state: the run's policies, with the method's memory and critic.
    """

    setup: experiment.Setup
    state: train_state.TrainState


def plan(asked, setup: experiment.Setup) -> Plan:
    """The plan of a config, checked against the run.

    Args:
        asked: the section `audit` of the config.
        setup: the audited run.

    Raises:
        ValueError: what came, what was wanted, what to change.
    """
    # The fields of the config; the methods are named in one text.
    fields.check(asked, defaults.AUDIT.fields["audit"], "audit")
    names = [field.name for field in dataclasses.fields(Plan)]
    given = {name: asked[name] for name in names}
    listed = given.pop("methods").strip("[]() ").replace("'", "").replace('"', "")
    named = tuple(name.strip() for name in listed.split(",") if name.strip())
    plan = Plan(**given, methods=named or _usual(setup, given["candidates"]))

    # Sizes that fit the figures, the devices and the test split.
    count, least = plan.questions, diagnostics.LEAST
    checks.require(count >= least, "audit.questions", count, f"{least} or more")
    parts = sharding.batch_size(setup.mesh)
    if plan.questions % plan.batch_size or plan.batch_size % parts:
        raise ValueError(
            f"audit.questions={plan.questions} and audit.batch_size={plan.batch_size}: "
            f"the first must be a multiple of the second, and that one of {parts}, the "
            "devices that share a batch."
        )
    available = len(setup.task.split("test"))
    if count > available:
        raise ValueError(
            f"audit.questions={count}, but there are {available} test questions; "
            "ask for fewer."
        )
    return plan


def _usual(run: experiment.Setup, candidates: int) -> tuple[str, ...]:
    """The run's own method, C3 and MAGRPO, as far as they fit the run."""
    own = run.config.credit.name
    names = [] if api.find(own).plan == "vine" else [own]
    for name in ("c3", "magrpo"):
        try:
            if name != own:
                method(run, name, candidates)
                names.append(name)
        except ValueError:  # It does not fit; a config that names it gets the reason.
            continue
    return tuple(names)


def method(run: experiment.Setup, name: str, candidates: int) -> experiment.Setup:
    """The run with another method of credit.

    The run's own method keeps its options, any other has its defaults.

    Args:
        run: the audited run.
        name: see `api.find`.
        candidates: messages of a context that it will credit.

    Raises:
        ValueError: the method does not fit the team, or the number of candidates.
    """
    if api.find(name, "audit.methods").plan == "vine":
        raise ValueError(
            f"audit.methods: {name!r} compares siblings as 'c3' does, but samples them "
            "along one episode, which is no tree around a context; audit 'c3'."
        )
    try:
        setup = run if name == run.config.credit.name else _resolved(run, name)
    except ValueError as error:
        raise ValueError(f"audit.methods: no {name!r} here: {error}") from None
    # Candidates are credited in whole groups of siblings.
    for level in range(len(setup.ancestors)):
        size = setup.team.protocol.branching[level]
        if candidates % size:
            role = setup.team.protocol.roles[level].name
            raise ValueError(
                f"audit.candidates={candidates}: {name!r} compares messages of "
                f"{role} {size} at a time; take a multiple of that."
            )
    return setup


def _resolved(run: experiment.Setup, name: str) -> experiment.Setup:
    """The run with a method of all defaults."""
    config = run.config.copy_and_resolve_references()
    with config.unlocked(), config.ignore_type():
        config.credit.update({**dict.fromkeys(config.credit), "name": name})
        config.protocol.branching = config.protocol.continuations = None
    return experiment.resolve(config, list(run.mesh.devices.flat))


def scaled(setup: experiment.Setup) -> str:
    """Why a method's credit is not in reward units; "" if it is.

    Args:
        setup: the run with this method, from `method`.
    """
    # Divided by a deviation of the rewards, by an option or always.
    bound = {n: option.default for n, option in setup.estimator.options.items()}
    scores = bound.get("std") or bound.get("normalise")
    if (
        scores
        or bound.get("baseline") == "batch"
        or setup.config.credit.name == "ccpo_v1"
    ):
        return "z-scored, not in reward units: not comparable with other methods"
    return ""


def learned(
    setup: experiment.Setup,
    run: experiment.Setup,
    state: train_state.TrainState,
    plan: Plan,
    scorer: scorers.Scorer,
    stop: Callable[[], bool] = lambda: False,
) -> Method:
    """A method with its critic or statistics, learned if the run has none.

    Args:
        setup: the run with this method, from `method`.
        run: the audited run.
        state: the audited run's state.
        plan: `fit` is read, the steps to learn for.
        stop: as for `continuous.sample`.
    """
    if setup.config.credit.name == run.config.credit.name:
        return Method(setup, state)

    # A new memory and critic; many methods have neither.
    memory = setup.estimator.memory(setup.ancestors)
    state = state.replace(
        memory=jax.device_put(memory, sharding.replicated(setup.mesh)),
        critic=critic_update.initial_state(setup, state.params),
    )
    if setup.critic is None and not jax.tree.leaves(memory):
        return Method(setup, state)

    # Steps of training without the policies' updates.
    c, learn, watch = setup.config, critic_update.compiled(setup), metrics.Stopwatch()
    source = pipeline.order(setup.task.split("train"), c.seed)
    size, progress = c.train.batch_size, metrics.Progress(c.credit.name, plan.fit)
    batches = pipeline.Batches(source, size, rollouts.share(setup))
    for step in range(plan.fit):
        items = batches[step * size]
        rollout = rollouts.sample(setup, state, step, items, scorer, watch, stop)
        evidence = rollouts.seen(setup.ancestors, rollouts.score(rollout)[0])
        critic, _ = learn(state.critic, rollout, evidence)
        args = (setup.estimator, setup.ancestors, rollout, state.memory)
        _, memory = rollouts.credit(*args)
        state = state.replace(memory=memory, critic=critic)
        progress.show(step + 1)
    return Method(setup, state)
