"""Buckets of a run: contexts of its team, continued, and the credit of each method.

For each role, contexts reached by episodes on test questions are frozen. Candidates are
sampled from each, the team continues every one of them, and further messages estimate
the value of the context. Independently, each method assigns credit to the same
candidates as it does in training: around each group of as many candidates as it
compares there, a tree of its own shape is sampled, scored, and handed to the estimator.
So credit costs each method as much as a training step does, and shares no sample with
the worth it is compared with.
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from c3jax.audit import buckets, methods
from c3jax.audit.methods import Method, Plan
from c3jax.collect import answers, evidence, rollouts, scorers, scoring
from c3jax.core import files, keys, metrics, signals
from c3jax.core.ledger import Spent
from c3jax.core.types import Questions, Turn
from c3jax.reward import math
from c3jax.rollout import continuous, frozen
from c3jax.setup import experiment, train_state
from c3jax.train import device_memory

# Draws of an estimator's extra runs have addresses that no step of training has.
_STEP = 2**31 - 1


def collect(
    setup: experiment.Setup,
    state: train_state.TrainState,
    plan: Plan,
    directory: pathlib.Path,
    scorer: scorers.Scorer,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[list[buckets.Bucket], dict[str, Spent]] | None:
    """The buckets of all roles that write, and their cost.

    Parts that were collected before a stop or a kill are not collected again.

    Args:
        setup: the audited run.
        state: holds the policies that are audited.
        plan: how much is sampled, and the methods.
        directory: where parts are kept; for this state and plan alone.
        stop: asked every few tokens; a part that was not finished is begun again.

    Returns:
        Buckets, role after role; the cost by "buckets" and each method. None if it was
        stopped.

    Raises:
        ValueError: a method does not fit the run.
    """
    # Parts of one batch of questions and one role, each a file.
    setups = {n: methods.method(setup, n, plan.candidates) for n in plan.methods}
    test, collected, spent = setup.task.split("test"), [], {}
    parts = [(n, b) for n in range(len(setup.ancestors)) for b in plan.batches]
    progress = metrics.Progress("contexts", len(parts) * plan.batch_size)

    @functools.cache
    def learned():
        """The methods, with critics and statistics once they are first needed."""
        args = (setup, state, plan, scorer, stop)
        return {n: methods.learned(own, *args) for n, own in setups.items()}

    for done, (level, begin) in enumerate(parts, 1):
        path = directory / f"{level}-{begin:08d}.json"
        if not path.exists():
            items = [test[begin + row] for row in range(plan.batch_size)]
            try:
                batch = ContextBatch(
                    setup, state, plan, level, begin, items, scorer, stop
                )
                part = _part(batch, learned())
            except signals.Stopped:
                return None
            files.write(path, json.dumps(part))

        # From the file in any case, so that a resumed audit reads the same.
        part = json.loads(path.read_text())
        collected += [buckets.parse(line) for line in part["buckets"]]
        for name, counts in part["spent"].items():
            spent[name] = spent.get(name, Spent()) + Spent(**counts)
        role = setup.team.protocol.roles[level].name
        progress.show(done * plan.batch_size, role=role)
    return collected, spent


def phases(setup: experiment.Setup, plan: Plan) -> device_memory.Phases:
    """The memory that an audit needs on a device, by phase; see `train.device_memory`.

    Args:
        setup: the audited run.
        plan: how much is sampled, and the methods.

    Raises:
        ValueError: a method does not fit the run.
    """
    # Every method keeps its critic to the end.
    setups = {n: methods.method(setup, n, plan.candidates) for n in plan.methods}
    held, own = device_memory.restored(setup), setup.config.credit.name
    others = (other for name, other in setups.items() if name != own)
    held["critic"] += sum(device_memory.restored(other)["critic"] for other in others)

    # Teams with the copies of a question that are sampled at once.
    count, contexts, trees = plan.candidates, [], []
    for level in range(len(setup.ancestors)):
        for times in ((count + plan.extra, 1), (count, plan.continuations)):
            contexts.append(frozen.continued(setup.team, level, *times))
        for method in setups.values():
            size = method.team.protocol.branching[level]
            trees.append((method.team, count // size))

    def grown(teams):
        return held | device_memory.most(
            device_memory.written(setup, team, copies * plan.batch_size)
            for team, copies in teams
        )

    return {
        "frozen contexts": grown(contexts),
        "trees around them": grown(trees),
        **device_memory.evaluating(setup),
    }


def _part(batch: "ContextBatch", learned: Mapping[str, Method]) -> dict:
    """The buckets of some questions at one level, as lines, and their cost."""
    credit = {name: batch.credit(method) for name, method in learned.items()}
    made = batch.buckets({name: values for name, (values, _) in credit.items()})
    spent = {
        "buckets": batch.spent,
        **{name: cost for name, (_, cost) in credit.items()},
    }
    return {
        "buckets": [json.dumps(dataclasses.asdict(bucket)) for bucket in made],
        "spent": {name: dataclasses.asdict(cost) for name, cost in spent.items()},
    }


class ContextBatch:
    """Contexts of one role on some questions, and the trees sampled from them."""

    def __init__(self, setup, state, plan, level, begin, items, scorer, stop):
        self._setup, self._state, self._plan = setup, state, plan
        self._level, self._items, self._scorer = level, items, scorer
        self._stop = stop
        self._questions = setup.place(setup.encode(items))
        # Every row of every tree has an address, and no other has the same.
        most = plan.candidates * max(plan.continuations, 1) + plan.extra
        self._first = (level * plan.questions + begin) * most
        key = keys.stream(setup.config.seed, "audit")
        base, own = jax.random.split(jax.random.fold_in(key, level))
        self._keys = jax.random.split(own, 4)
        self._given, self.spent = {}, Spent()
        params, team = state.params, setup.team

        # One episode a question; its messages are the frozen contexts.
        base_team, turns = frozen.chain(params, team, self._questions, base, stop)
        self.spent += self._written(base_team, turns)
        self._given = {n: turns[n] for n in team.protocol.ancestors[level]}

        # All messages are drawn alike; which of them are candidates is settled first.
        cut, count = plan.candidates, plan.candidates + plan.extra
        args = (self._questions, self._given, count, self._keys[0], stop)
        alone, turns = frozen.sampled(params, team, level, *args)
        self.spent += self._written(alone, turns)
        self._messages = jax.tree.map(lambda x: x[:, :, :cut], turns[level])

        # The worth of candidates, and the value of their context.
        self._returns, self._texts = self._continued(
            self._messages, plan.continuations, self._keys[1]
        )
        self._extra = np.zeros((len(items), 0))
        if plan.extra:
            more = jax.tree.map(lambda x: x[:, :, cut:], turns[level])
            self._extra = self._apart(more, self._keys[2])

    def _written(self, team, turns) -> Spent:
        """The tokens that some turns cost."""
        bare = [turn.bare() for turn in turns]
        given = tuple(self._given)
        return scoring.written(team, self._questions, jax.device_get(bare), given)

    def _continued(self, messages: Turn, times: int, key) -> tuple:
        """[B, J, M] rewards, and by kind the [B, J, M] texts that followed."""
        count = messages.length.shape[2]
        team, copies = frozen.continued(self._setup.team, self._level, count, times)
        given = frozen.tiled({**self._given, self._level: messages}, copies)
        turns, reward = self._grown(team, copies, given, key)
        reward = frozen.leaves(reward, copies, count)
        texts = {
            kind: frozen.leaves(values, copies, count)
            for kind, values in _texts(self._setup, team, self._level, turns).items()
        }
        if reward.shape[-1] < times:  # No role follows: every reward is the same.
            reward = np.repeat(reward, times, -1)
            texts = {}
        return reward, texts

    def _apart(self, messages: Turn, key) -> np.ndarray:
        """[B, E] rewards of further messages, each continued once."""
        count = messages.length.shape[2]
        team, copies = frozen.continued(self._setup.team, self._level, 1, count)
        if copies == 1:  # All later roles read them, and share nothing.
            return self._continued(messages, 1, key)[0][..., 0]
        given = frozen.tiled(self._given, copies)
        given[self._level] = frozen.groups(messages, 1)
        return np.reshape(self._grown(team, copies, given, key)[1], (copies, -1)).T

    def _grown(self, team, copies: int, given, key) -> tuple:
        """The turns of some copies of the questions, and their rewards."""
        questions = self._rows(copies)
        params = self._state.params
        turns, _ = continuous.sample(params, team, questions, key, given, self._stop)
        scores = self._submit(self._setup, team, questions, copies, turns, given)()
        self.spent += scores.spent
        return turns, scores.reward

    def credit(self, method: Method) -> tuple[np.ndarray, Spent]:
        """[B, J] advantages of the candidates, and their cost."""
        setup, state, level = method.setup, method.state, self._level
        # A tree of the method's own shape around each group of candidates.
        size = setup.team.protocol.branching[level]
        times = self._plan.candidates // size
        questions = self._rows(times)
        given = frozen.tiled(self._given, times)
        given[level] = frozen.groups(self._messages, size)
        # By the shape alone, so that methods with the same trees see the same.
        args = (questions, given, self._keys[3], self._stop)
        turns = frozen.around(state.params, setup.team, *args)
        items = self._items * times
        submitted = self._submit(setup, setup.team, questions, times, turns, {})
        args = (questions, items, turns, self._scorer, submitted, self._stop)
        scores = evidence.gather(setup, state, _STEP, *args)()

        # Credit as in training, one group of each context at a time.
        known = rollouts.seen(setup.ancestors, scores)
        groups = np.arange(len(items)).reshape(times, -1)
        advantage = [self._advantage(method, known, rows) for rows in groups]
        return np.concatenate(advantage, -1), scores.spent

    def _advantage(self, method: Method, known, rows: np.ndarray) -> np.ndarray:
        """[B, k] advantages of one group a context; others count as other questions."""
        group = jax.tree.map(lambda x: np.asarray(x)[rows], known)
        advantages, _ = method.setup.estimator.fn(group, method.state.memory)
        return np.asarray(advantages[self._level][:, 0])

    def _rows(self, times: int) -> Questions:
        first = self._first * times
        return self._setup.place(frozen.repeated(self._questions, times, first))

    def _submit(self, setup, team, questions, times, turns, given):
        items = self._items * times
        args = (setup, team, questions, items, turns, self._scorer)
        return scoring.submit(*args, given=tuple(given))

    def buckets(self, credit: Mapping[str, np.ndarray]) -> list[buckets.Bucket]:
        """The contexts in which the dialogue had not ended."""
        # Texts of the candidates and of the messages they follow.
        setup, level = self._setup, self._level
        turn, given = jax.device_get((self._messages, self._given))
        texts = np.reshape(setup.texts(turn, level), turn.length.shape)
        read = {n: setup.texts(message, n) for n, message in given.items()}
        role = setup.team.protocol.roles[level].name

        def candidate(row, j):
            return buckets.Candidate(
                text=texts[row, 0, j],
                returns=tuple(map(float, self._returns[row, j])),
                credit={name: float(v[row, j]) for name, v in credit.items()},
                logp=float(turn.logp[row, 0, j].sum()),
                truncated=not bool(turn.ended[row, 0, j]),
                **{kind: tuple(v[row, j]) for kind, v in self._texts.items()},
            )

        def context(row):
            roles = setup.team.protocol.roles
            lines = (f"{roles[n].name}: {own[row]}" for n, own in read.items())
            return "\n".join([self._items[row].text, *lines])

        return [
            buckets.Bucket(
                id=f"{item.id or item.uid}/{role}",
                role=role,
                context=context(row),
                candidates=tuple(candidate(row, j) for j in range(texts.shape[2])),
                extra=tuple(map(float, self._extra[row])),
            )
            for row, item in enumerate(self._items)
            if turn.length[row].any()
        ]


def _texts(setup, team, level: int, turns: Sequence[Turn]) -> dict[str, np.ndarray]:
    """By kind, one text a leaf: the first reader's reply, and the final answer."""
    kinds = {}
    turns = jax.device_get([turn.bare() for turn in turns])
    rows, roles = turns[0].length.shape[0], team.protocol.roles
    for n, template in enumerate(team.templates):
        if level in template.reads and n not in team.silenced:
            kinds["replies"] = np.reshape(setup.texts(turns[n], n), (rows, -1))
            break

    # The last message that answers, which may come early, or not at all.
    if setup.task.reward == "math" and not roles[-1].counts:
        fallback = tuple(setup.config.reward.fallback)
        by_role = [
            np.reshape(setup.texts(turns[n], n), (rows, -1))
            for n in answers.levels(team)
        ]
        texts = np.concatenate([*by_role, np.full((rows, 1), "")], 1)
        at = np.arange(texts.shape[1] - 1)[None]
        if team.finishes:
            at = answers.of_leaves(team, turns).reshape(rows, -1)
        texts = np.take_along_axis(texts, at, 1)
        read = [[math.extract(text, fallback) or "" for text in row] for row in texts]
        kinds["answers"] = np.array(read, object)
    return kinds
