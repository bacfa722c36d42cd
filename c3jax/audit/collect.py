"""Buckets of a run: contexts of its team, continued, and the credit of each method.

For each role, contexts reached by episodes on test questions are frozen. Candidates are
sampled from each, the team continues every one of them, and further messages estimate
the value of the context. Independently, each method assigns credit to the same
candidates as it does in training: around each group of as many candidates as it
compares there, a tree of its own shape is grown, scored, and handed to the estimator.
So credit costs each method what a training step costs it, and shares no sample with the
worth it is compared with.
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
from c3jax.core import files, keys, metrics, signals
from c3jax.core.types import Questions, Turn
from c3jax.reward import math
from c3jax.rollout import desks, frozen
from c3jax.train import answers, evidence, grading, growth, memory, scoring, update
from c3jax.train import setup as setups
from c3jax.train.ledger import Spent

# Draws of an estimator's extra runs have addresses that no step of training has.
_STEP = 2**31 - 1


def collect(
    setup: setups.Setup,
    state: update.TrainState,
    plan: Plan,
    directory: pathlib.Path,
    scorer: scoring.Scorer,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[list[buckets.Bucket], dict[str, Spent]] | None:
    """The buckets of all roles that write, and their cost.

    Parts that were collected before a stop or a kill are not collected again.

    Args:
        setup: the audited run.
        state: holds the policies that are audited.
        plan: how much is sampled, and the methods.
        directory: where parts are kept; for this state and plan alone.
        scorer: scores the answers.
        stop: asked every few tokens; a part that was not finished is begun again.

    Returns:
        Buckets, role after role; the cost by "buckets" and each method. None if it was
        stopped.

    Raises:
        ValueError: a method does not fit the run.
    """
    named = {n: methods.method(setup, n, plan.candidates) for n in plan.methods}
    test, found, spent = setup.task.split("test"), [], {}
    parts = [(n, b) for n in range(len(setup.spans)) for b in plan.batches]
    progress = metrics.Progress("contexts", len(parts) * plan.batch_size)

    @functools.cache
    def asked():
        """The methods, made when they are first needed."""
        args = (setup, state, plan, scorer)
        return {n: methods.learned(each, *args, stop) for n, each in named.items()}

    for done, (level, begin) in enumerate(parts, 1):
        path = directory / f"{level}-{begin:08d}.json"
        if not path.exists():
            items = [test[begin + row] for row in range(plan.batch_size)]
            try:
                batch = _Batch(setup, state, plan, level, begin, items, scorer, stop)
                made = _part(batch, asked())
            except signals.Stopped:
                return None
            files.write(path, json.dumps(made))
        part = json.loads(path.read_text())
        found += [buckets.parse(line) for line in part["buckets"]]
        for name, counts in part["spent"].items():
            spent[name] = spent.get(name, Spent()) + Spent(**counts)
        role = setup.team.protocol.roles[level].name
        progress.show(done * plan.batch_size, role=role)
    return found, spent


def phases(setup: setups.Setup, plan: Plan) -> memory.Phases:
    """The memory that an audit needs on a device, by phase; see `train.memory`.

    Args:
        setup: the audited run.
        plan: how much is sampled, and the methods.

    Raises:
        ValueError: a method does not fit the run.
    """
    asked = {n: methods.method(setup, n, plan.candidates) for n in plan.methods}
    held, own = memory.restored(setup), setup.config.credit.name
    others = (each for name, each in asked.items() if name != own)
    held["critic"] += sum(memory.restored(each)["critic"] for each in others)
    count, contexts, trees = plan.candidates, [], []
    for level in range(len(setup.spans)):
        for times in ((count + plan.extra, 1), (count, plan.continuations)):
            contexts.append(frozen.continued(setup.team, level, *times))
        for each in asked.values():
            size = each.team.protocol.branching[level]
            trees.append((each.team, count // size))

    def grown(some):
        rows = ((team, copies * plan.batch_size) for team, copies in some)
        return held | memory.most(memory.written(setup, *each) for each in rows)

    return {
        "frozen contexts": grown(contexts),
        "trees around them": grown(trees),
        **memory.evaluating(setup),
    }


def _part(batch: "_Batch", asked: Mapping[str, Method]) -> dict:
    """The buckets of some questions at one level, as lines, and their cost."""
    credit = {name: batch.credit(each) for name, each in asked.items()}
    told = batch.buckets({name: values for name, (values, _) in credit.items()})
    spent = {
        "buckets": batch.spent,
        **{name: cost for name, (_, cost) in credit.items()},
    }
    return {
        "buckets": [json.dumps(dataclasses.asdict(each)) for each in told],
        "spent": {name: dataclasses.asdict(cost) for name, cost in spent.items()},
    }


class _Batch:
    """Contexts of one role on some questions, and the trees grown from them."""

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
        start = state.params, setup.team
        base_team, said = frozen.chain(*start, self._questions, base, stop)
        self.spent += self._written(base_team, said)
        self._given = {n: said[n] for n in setup.team.protocol.spans[level]}
        # All messages are drawn alike; which of them are candidates is settled first.
        cut, count = plan.candidates, plan.candidates + plan.extra
        args = (self._questions, self._given, count, self._keys[0], stop)
        alone, said = frozen.sampled(*start, level, *args)
        self.spent += self._written(alone, said)
        self._messages = jax.tree.map(lambda x: x[:, :, :cut], said[level])
        self._returns, self._heard = self._continued(
            self._messages, plan.continuations, self._keys[1]
        )
        self._extra = np.zeros((len(items), 0))
        if plan.extra:
            more = jax.tree.map(lambda x: x[:, :, cut:], said[level])
            self._extra = self._apart(more, self._keys[2])

    def _written(self, team, turns) -> Spent:
        bare = [turn.replace(logp=None, margin=None, support=None) for turn in turns]
        given = tuple(self._given)
        return grading.written(team, self._questions, jax.device_get(bare), given)

    def _continued(self, messages: Turn, times: int, key) -> tuple:
        """[B, J, M] rewards, and by kind the [B, J, M] texts that followed."""
        count = messages.length.shape[2]
        team, copies = frozen.continued(self._setup.team, self._level, count, times)
        given = frozen.tiled({**self._given, self._level: messages}, copies)
        turns, found = self._grown(team, copies, given, key)
        reward = frozen.leaves(found, copies, count)
        heard = {
            kind: frozen.leaves(texts, copies, count)
            for kind, texts in _texts(self._setup, team, self._level, turns).items()
        }
        if reward.shape[-1] < times:  # Nobody goes on: it earns the same each time.
            reward = np.repeat(reward, times, -1)
            heard = {}
        return reward, heard

    def _apart(self, messages: Turn, key) -> np.ndarray:
        """[B, E] rewards of further messages, each continued once."""
        count = messages.length.shape[2]
        team, copies = frozen.continued(self._setup.team, self._level, 1, count)
        if copies == 1:  # All who speak after them hear them, and share nothing.
            return self._continued(messages, 1, key)[0][..., 0]
        given = frozen.tiled(self._given, copies)
        given[self._level] = frozen.groups(messages, 1)
        return np.reshape(self._grown(team, copies, given, key)[1], (copies, -1)).T

    def _grown(self, team, copies: int, given, key) -> tuple:
        """The turns of some copies of the questions, and their rewards."""
        questions = self._rows(copies)
        params = self._state.params
        turns, _ = desks.grow(params, team, questions, key, given, self._stop)
        graded = self._submit(self._setup, team, questions, copies, turns, given)()
        self.spent += graded.spent
        return turns, graded.reward

    def credit(self, method: Method) -> tuple[np.ndarray, Spent]:
        """[B, J] advantages of the candidates, and their cost."""
        setup, state, level = method.setup, method.state, self._level
        size = setup.team.protocol.branching[level]
        times = self._plan.candidates // size
        questions = self._rows(times)
        given = frozen.tiled(self._given, times)
        given[level] = frozen.groups(self._messages, size)
        # By the shape alone, so that methods which grow the same trees see the same.
        args = (questions, given, self._keys[3], self._stop)
        turns = frozen.around(state.params, setup.team, *args)
        graded = self._submit(setup, setup.team, questions, times, turns, {})
        graded = evidence.gather(
            *(setup, state, _STEP, questions, self._items * times, turns),
            *(self._scorer, graded, self._stop),
        )
        found = graded()
        each, evidenced = np.arange(times * len(self._items)), growth.seen(setup, found)
        advantage = [
            self._advantage(method, evidenced, rows) for rows in each.reshape(times, -1)
        ]
        return np.concatenate(advantage, -1), found.spent

    def _advantage(self, method: Method, seen, rows: np.ndarray) -> np.ndarray:
        """[B, k] advantages of one group a context; others count as other questions."""
        some = jax.tree.map(lambda x: np.asarray(x)[rows], seen)
        found, _ = method.setup.estimator.fn(some, method.state.memory)
        return np.asarray(found[self._level][:, 0])

    def _rows(self, times: int) -> Questions:
        first = self._first * times
        return self._setup.place(frozen.repeated(self._questions, times, first))

    def _submit(self, setup, team, questions, times, turns, given):
        items = self._items * times
        args = (setup, team, questions, items, turns, self._scorer)
        return grading.submit(*args, given=tuple(given))

    def buckets(self, credit: Mapping[str, np.ndarray]) -> list[buckets.Bucket]:
        """The contexts in which the dialogue had not ended."""
        setup, level = self._setup, self._level
        turn, given = jax.device_get((self._messages, self._given))
        texts = np.reshape(setup.texts(turn, level), turn.length.shape)
        read = {n: setup.texts(each, n) for n, each in given.items()}
        role = setup.team.protocol.roles[level].name

        def candidate(row, j):
            return buckets.Candidate(
                text=texts[row, 0, j],
                returns=tuple(map(float, self._returns[row, j])),
                credit={name: float(v[row, j]) for name, v in credit.items()},
                logp=float(turn.logp[row, 0, j].sum()),
                truncated=not bool(turn.ended[row, 0, j]),
                **{kind: tuple(v[row, j]) for kind, v in self._heard.items()},
            )

        def context(row):
            names = (setup.team.protocol.roles[n].name for n in read)
            said = (messages[row] for messages in read.values())
            lines = (f"{n}: {s}" for n, s in zip(names, said, strict=True))
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
    found = {}
    turns = jax.device_get([t.replace(logp=None, margin=None) for t in turns])
    rows, roles = turns[0].length.shape[0], team.protocol.roles
    for n, script in enumerate(team.scripts):
        if level in script.reads and n not in team.silenced:
            found["replies"] = np.reshape(setup.texts(turns[n], n), (rows, -1))
            break
    if setup.task.reward == "math" and not roles[-1].counts:
        fallback = tuple(setup.config.reward.fallback)
        each = [
            np.reshape(setup.texts(turns[n], n), (rows, -1))
            for n in answers.levels(team)
        ]
        texts = np.concatenate([*each, np.full((rows, 1), "")], 1)
        at = np.arange(texts.shape[1] - 1)[None]
        if team.finishes:
            at = answers.of_leaves(team, turns).reshape(rows, -1)
        texts = np.take_along_axis(texts, at, 1)
        read = [[math.extract(text, fallback) or "" for text in row] for row in texts]
        found["answers"] = np.array(read, object)
    return found
