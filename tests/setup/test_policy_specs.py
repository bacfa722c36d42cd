"""Policies of the roles: shared or their own, frozen, in turn, with adapters."""

import functools
import json

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from c3jax import policy
from c3jax.audit import certificate
from c3jax.collect import rollouts
from c3jax.core import checkpoint, keys
from c3jax.learn import training, warm_start
from c3jax.policy import decoder, low_rank
from c3jax.setup import train_state
from c3jax.train import device_memory, export, saved_trees
from tests import support
from tests.learn.test_update import SMALL, one_step
from tests.train.test_published import assert_trained, made

INIT = jax.jit(decoder.init, static_argnums=1)
ADAPTERS = low_rank.Adapters(rank=3, alpha=6.0, targets=tuple(decoder.PRODUCTS))


def smaller(**changes):
    """A policy of another size than the page's."""
    given = support.page_config().policy.to_dict()
    return ml_collections.ConfigDict(
        {**given, "width": 32, "hidden": 48, "unroll": 1, **changes}
    )


@functools.cache
def own():
    """A reasoner, and a smaller actor with adapters, that learn in turn."""
    adapters = dict(rank=2, alpha=4.0, targets=("q", "down"))
    return support.math_setup(
        **SMALL,
        protocol__policies="own",
        policies=ml_collections.ConfigDict({"actor": smaller(adapters=adapters)}),
        train__alternate=True,
        train__kl=0.1,
        warm_start__steps=0,
    )


def changed(before, after):
    """Paths of the leaves that are not equal."""
    flat = jax.tree.leaves_with_path(before)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for (path, one), other in zip(flat, jax.tree.leaves(after), strict=True)
        if not np.array_equal(one, other)
    }


@functools.cache
def adapted():
    """A policy with adapters that are no longer zero, its shape, and some tokens."""
    shape = support.SHAPE.replace(adapters=ADAPTERS)
    params = INIT(keys.stream(0, "init"), shape)
    moved = jax.tree.map(lambda x: x + 0.05, params["adapters"])
    return {**params, "adapters": moved}, shape, jnp.arange(9)


@functools.partial(jax.jit, static_argnums=1)
def logits(params, shape, tokens):
    hidden, _ = decoder.forward(params, shape, tokens)
    return decoder.logits(params, shape, hidden)


def test_fresh_adapters_change_nothing():
    _, shape, tokens = adapted()
    params = INIT(keys.stream(0, "init"), shape)
    with_them = logits(params, shape, tokens)
    without = logits(params, shape.replace(adapters=None), tokens)
    np.testing.assert_array_equal(with_them, without)


def test_merged_adapters_compute_what_they_did_beside_the_weights():
    params, shape, tokens = adapted()
    merged = decoder.merged(params, shape)
    assert "adapters" not in merged
    bare = shape.replace(adapters=None)
    found, wanted = logits(merged, bare, tokens), logits(params, shape, tokens)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert np.abs(wanted - logits(params, bare, tokens)).max() > 0.01


def test_policies_of_two_sizes_learn_in_turn():
    setup = own()
    before = jax.device_get(warm_start.initial_params(setup))
    state, _, stats = one_step(setup, 0)
    paths = changed(before, jax.device_get(state.params))
    assert {path.split("/")[0] for path in paths} == {"reasoner"}
    assert float(stats["logp_gap"]) < 1e-5
    state, _, stats = one_step(setup, 1)
    # A is read first in the second step of its own, when B is no longer zero.
    paths = changed(before, jax.device_get(state.params))
    assert {path.split("/")[1] for path in paths} == {"adapters"}
    assert {path.split("/")[0] for path in paths} == {"actor"}
    assert float(stats["logp_gap"]) < 1e-5
    assert float(stats["kl"]) >= 0


def test_who_does_not_learn_costs_no_optimiser_state():
    setup = own()
    state = training.abstract_state(setup)
    moments = jax.tree.leaves(state.opt_state["actor"])
    adapters = jax.tree.leaves(state.params["actor"]["adapters"])
    assert sum(x.size for x in moments) == 2 * sum(x.size for x in adapters) + 2
    found = device_memory.training(setup)["update"]
    learned = train_state.trainable(state.params, setup.objective.learners)
    assert found["optimiser"] == 8 * sum(x.size for x in jax.tree.leaves(learned))


def test_a_role_that_is_frozen_stays_as_it_is_and_pieces_know_it():
    setup = support.math_setup(
        **SMALL,
        protocol__policies="own",
        train__frozen=("reasoner",),
        train__groups=2,
        warm_start__steps=0,
    )
    before = jax.device_get(warm_start.initial_params(setup))
    np.testing.assert_array_equal(before["actor"]["embed"], before["reasoner"]["embed"])
    state, grown, _ = one_step(setup)
    assert list(state.opt_state) == ["actor"]
    paths = changed(before, jax.device_get(state.params))
    assert {path.split("/")[0] for path in paths} == {"actor"}
    wrote = sum(int(group.trees[0].turns[1].length.sum()) for group in grown.rollout)
    trained = rollouts.trained(setup.objective, setup.team, grown.rollout)
    assert trained == 2 * wrote


def test_policies_are_checkpointed_replayed_and_exported_together(tmp_path):
    setup = own()
    _, grown, _ = one_step(setup, 1)
    before = warm_start.initial_params(setup)
    first = training.initial_state(setup, before)
    with checkpoint.Store(tmp_path / "checkpoints") as store:
        store.save(1, first, {})
        store.wait()
        found, _ = store.restore(training.abstract_state(setup))
    assert not changed(first.params, found.params)
    items = [setup.task.split("train")[i] for i in range(8)]
    saved_trees.save(tmp_path, setup, 1, items, grown.rollout, grown.advantages)
    assert "PASS: 48 messages" in str(certificate.certify(setup, tmp_path))
    written = export.write(setup, found.params, 1, tmp_path)
    tokens = np.arange(7)
    for name in ("reasoner", "actor"):
        shape = setup.team.shapes[name]
        wanted = logits(found.params[name], shape, jnp.asarray(tokens))
        read = policy.load(written / name).logits(tokens[None])[0]
        assert np.abs(read - wanted).max() < 1e-5 * np.abs(wanted).max()


def published(**models):
    """A run whose roles have these models."""
    policies = {
        role: dict(
            path=str(path),
            end_tokens=(),
            adapters=dict(rank=0, alpha=1.0, targets=("q",)),
            **dict(dtype="float32", remat="layer", logits_chunk=4, unroll=1),
            attention="plain",
        )
        for role, path in models.items()
    }
    return support.math_setup(
        **SMALL,
        data__tokenizer="",
        data__prompt_tokens=200,
        protocol__policies="own",
        policies=ml_collections.ConfigDict(policies),
        warm_start__steps=0,
        sampling__top_k=5,
    )


def test_roles_of_two_families_learn_and_are_exported_if_they_share_token_ids(tmp_path):
    models = {
        "reasoner": made(tmp_path / "reasoner", "qwen2"),
        "actor": made(tmp_path / "actor", "llama"),
    }
    setup = published(**models)
    reasoner, actor = (part.shape for part in setup.team.policies)
    assert reasoner.qkv_bias and not actor.qkv_bias
    assert reasoner.tied and not actor.tied
    state, _, stats = one_step(setup)
    assert float(stats["logp_gap"]) < 1e-5
    written = export.write(setup, state.params, 1, tmp_path)
    for name, model in models.items():
        assert_trained(model, written / name)

    # Ends are those of the tokenizer, both configs, the template and the user.
    config = tmp_path / "actor" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"eos_token_id": 9}))
    spec = published(**models).policies["actor"]
    assert {spec.tokenizer.eos_token_id, 9} <= {*spec.ends}
    given = setup.config.policies.actor.to_dict()
    for changes, message in (
        (dict(end_tokens=("<nope>",)), "policy.end_tokens: '<nope>' is no token here"),
        (dict(path="nowhere"), "is no directory"),
    ):
        with pytest.raises(ValueError, match=message):
            support.setup("math", policy=ml_collections.ConfigDict(given | changes))

    path = tmp_path / "actor" / "tokenizer.json"
    words = json.loads(path.read_text())
    vocab = words["model"]["vocab"]
    vocab["a"], vocab["b"] = vocab["b"], vocab["a"]
    path.write_text(json.dumps(words))
    message = "'reasoner' and 'actor' do not share token ids: .* one tokenizer"
    with pytest.raises(ValueError, match=message):
        published(**models)
    vocab["more"] = 99_999
    path.write_text(json.dumps(words))
    with pytest.raises(ValueError, match="embedding has .* rows, .*'more' as .* 99999"):
        published(**models)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(protocol__policies="each"), "'shared' or 'own'"),
        (dict(policies=ml_collections.ConfigDict({"actor": {}})), "set it to 'own'"),
        (
            dict(
                protocol__policies="own",
                policies=ml_collections.ConfigDict({"critic": {}}),
            ),
            "policies='critic' is not known",
        ),
        (dict(train__frozen=("actor",)), "train.frozen='actor' is not known"),
        (dict(train__frozen=("shared",)), "less than every policy"),
        (dict(train__alternate=True), "set protocol.policies='own'"),
        (dict(policy__adapters__rank=-1), "policy.adapters.rank=-1"),
        (
            dict(policy__adapters__rank=1, policy__adapters__targets=("query",)),
            "policy.adapters.targets='query' is not known",
        ),
    ],
)
def test_policies_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        support.math_setup(**changes)
