import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from c3jax.core import keys, sharding
from c3jax.policy import decoder, fused, kernels, segments, vendor
from c3jax.rollout import contexts, tree, vmaps
from tests import support

# Axes of a tree, questions first; no two sizes are alike, S is 7.
AXES = (contexts.BATCH, 0, 1)
SIZES = {contexts.BATCH: 2, 0: 3, 1: 4}
LENGTHS = np.random.default_rng(1).integers(0, 8, 24)
SPANS = {
    "alone": (),
    "a prefix": ((contexts.BATCH,),),
    "a tree": (AXES[:1], AXES[:2], AXES),
    "an unrelated axis": (AXES[:1], (contexts.BATCH, 1)),
}

# Each program here runs once, so that most of the time goes into compiling it.
compiled = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def draw(seed, *shape, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def example(spans, dtype="float32", slots=7, tokens=5, head_dim=8):
    """Queries, segments that vary along axes `spans`, their lengths, own block."""

    def at(seed, above, *shape):
        return draw(seed, *(SIZES[a] for a in above), *shape, dtype=dtype)

    q = at(0, AXES, 2, 2, tokens, head_dim)
    own = tuple(at(seed, AXES, 2, tokens, head_dim) for seed in (1, 2))
    kv = tuple(
        tuple(at(10 * n + seed, above, 2, slots, head_dim) for seed in (3, 4))
        for n, above in enumerate(spans)
    )
    sizes = [[SIZES[a] for a in above] for above in spans]
    lengths = tuple(
        jnp.array(np.resize(LENGTHS * slots // 7, size), jnp.int32) for size in sizes
    )
    return q, kv, lengths, own


def attend(fn, spans, q, kv, lengths, own):
    """`fn` lifted over the tree as the decoder's is."""
    past = tuple((vmaps.InAxes(above),) * 3 for above in spans)
    in_axes = (vmaps.InAxes(AXES), past, (vmaps.InAxes(AXES),) * 2)
    context = tuple((*pair, n) for pair, n in zip(kv, lengths, strict=True))
    return vmaps.nested_vmap(fn, AXES, in_axes)(q, context, own)


def slopes(fn, spans, q, kv, lengths, own, weight):
    def value(q, kv, own):
        return (attend(fn, spans, q, kv, lengths, own) * weight).sum()

    return jax.grad(value, (0, 1, 2))(q, kv, own)


def gap(one, other):
    """Relative L2 distance, over a whole tree."""
    return float(
        optax.tree.norm(jax.tree.map(jnp.subtract, one, other)) / optax.tree.norm(other)
    )


@pytest.mark.parametrize("spans", SPANS.values(), ids=SPANS)
def test_merged_attention_and_its_gradient_are_those_of_one_softmax(spans):
    args = example(spans)
    weight = draw(5, *args[0].shape)
    found, expected = (
        compiled(functools.partial(attend, fn, spans))(*args)
        for fn in (fused.attend, segments.plain)
    )
    np.testing.assert_allclose(found, expected, atol=2e-6)
    found, expected = (
        compiled(functools.partial(slopes, fn, spans))(*args, weight)
        for fn in (fused.attend, segments.plain)
    )
    gaps = jax.tree.map(gap, found, expected)
    assert max(jax.tree.leaves(gaps)) < 1e-5, gaps


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 8])
def test_a_causal_block_may_be_taken_in_pieces(piece, monkeypatch):
    # Another size each time, so that no trace is found again.
    q, _, _, own = example((), tokens=4 + piece)
    weight = draw(9, *q.shape)
    wanted = compiled(functools.partial(slopes, segments.plain, ()))
    monkeypatch.setattr(kernels, "_CAUSAL_PIECE", piece)
    found = compiled(functools.partial(slopes, fused.attend, ()))
    args = q, (), (), own, weight
    assert gap(found(*args), wanted(*args)) < 1e-6


def test_a_backward_pass_of_kept_products_attends_only_once():
    shape = support.SHAPE.replace(attention="fused", vocab=97)
    params, ids = decoder.init(jax.random.key(0), shape), jnp.arange(8)

    def exponentials(remat):
        changed = shape.replace(remat=remat)

        def value(params):
            return decoder.forward(params, changed, ids)[0].sum()

        return str(jax.make_jaxpr(jax.grad(value))(params)).count(" exp ")

    assert exponentials("none") == exponentials("products") < exponentials("layer")


@pytest.mark.parametrize("dtype, limit", [("float32", 1e-5), ("bfloat16", 0.03)])
def test_gradients_under_a_vmap_are_those_of_each_example(dtype, limit):
    spans = SPANS["a prefix"]
    args = example(spans, dtype)
    weights = draw(5, 3, *args[0].shape, dtype=dtype)
    found = compiled(jax.vmap(functools.partial(slopes, fused.attend, spans, *args)))(
        weights
    )
    plain = compiled(functools.partial(slopes, segments.plain, spans, *args))
    for index, weight in enumerate(weights):
        expected = plain(weight)
        own = jax.tree.map(lambda x: x[index].astype(jnp.float32), found)  # noqa: B023
        assert gap(own, jax.tree.map(lambda x: x.astype(jnp.float32), expected)) < limit


def test_a_prefix_is_never_copied_for_those_who_share_it():
    spans = SPANS["a prefix"]
    args = example(spans, slots=13, head_dim=16)
    kv_size = args[1][0][0].size
    both = functools.partial(slopes, fused.attend, spans)
    text = str(jax.make_jaxpr(both)(*args, draw(5, *args[0].shape)))
    found = [
        tuple(map(int, shape.split(",")))
        for shape in re.findall(r"f32\[([\d,]+)\]", text)
    ]
    keys_of_prefix = [shape for shape in found if 13 in shape and 16 in shape]
    assert keys_of_prefix
    assert max(np.prod(shape) for shape in keys_of_prefix) == kv_size


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_block_without_keys_has_no_part_in_anything(dtype):
    q, k, v = (
        draw(i, 2, 2, *x, 3, 8, dtype=dtype) for i, x in enumerate([(2,), (), ()])
    )
    length = jnp.array([0, 3])
    o, lse = compiled(kernels.forward, static_argnums=0)(False, q, k, v, length)
    assert not o[0].any() and (lse[0] == -jnp.inf).all()
    assert np.isfinite(o).all() and np.isfinite(lse[1]).all()
    # Its own slots would weigh exp(300).
    merged = np.full(lse.shape, -300, np.float32)
    backward = compiled(kernels.backward, static_argnums=0)
    for grads in backward(False, q, k, v, length, q, merged, q):
        assert not grads[0].any()


@pytest.mark.parametrize("causal", [True, False])
def test_splash_attention_agrees_with_einsum(causal):
    """Both directions, the second from a softmax over more than this block."""
    rows, slots = 130, 130 if causal else 150
    q, do, other = (draw(i, 1, 1, 2, rows, 64) for i in range(3))
    k, v = (draw(i, 1, 1, slots, 64) for i in (3, 4))
    length = jnp.array([slots if causal else 70])
    o, lse = kernels.EINSUM["forward"](causal, q, k, v, length)
    args = q, k, v, length, o / 2 + other / 9, lse + 0.7, do
    expected = o, lse, *kernels.EINSUM["backward"](causal, *args)

    @compiled
    def splash(*args):
        splash = vendor.KERNELS["tpu"]
        forward = splash["forward"](causal, *args[:4], interpret=True)
        return *forward, *splash["backward"](causal, *args, interpret=True)

    gaps = jax.tree.map(gap, splash(*args), expected)
    assert max(gaps) < 1e-5, gaps


def test_devices_attend_for_their_own_questions_and_heads():
    mesh, spans = sharding.make(1, 2, 2, jax.devices()[:4]), SPANS["a prefix"]
    q, kv, lengths, own = example(spans, "bfloat16")
    weight = draw(5, *q.shape, dtype="bfloat16")
    run = compiled(functools.partial(slopes, fused.attend, spans))
    expected = run(q, kv, lengths, own, weight)

    def place(x, heads=-3):
        spec = [None] * x.ndim
        spec[0], spec[heads] = "fsdp", "tensor"
        return jax.device_put(x, NamedSharding(mesh, PartitionSpec(*spec)))

    kv, own = jax.tree.map(place, (kv, own))
    args = place(q, -4), kv, lengths, own, place(weight, -4)
    program = run.lower(*args).compile()
    moved = r"all-(gather|reduce|to-all)|collective-permute|reduce-scatter"
    assert not re.search(moved, program.as_text())
    wide = lambda tree: jax.tree.map(lambda x: jnp.float32(jax.device_get(x)), tree)  # noqa: E731
    assert gap(wide(program(*args)), wide(expected)) < 5e-3


def team(**changes):
    return support.team(branching=(3, 2)).reshaped(unroll=1, **changes)


@functools.cache
def grown(attention):
    sample = compiled(tree.sample, static_argnums=1)
    key = keys.stream(0, "rollout")
    return sample(support.params(), team(attention=attention), support.questions(), key)


def test_what_attends_does_not_change_what_is_sampled():
    for turn, other in zip(grown("plain"), grown("fused"), strict=True):
        np.testing.assert_array_equal(turn.tokens, other.tokens)
        support.assert_rounded(turn.logp, other.logp)


@pytest.mark.parametrize("remat", ["layer", "products"])
def test_what_attends_does_not_change_the_gradient(remat):
    """Of the message at the end, through all that it reads."""
    turns = grown("plain")
    weight = draw(0, *turns[1].tokens.shape)

    def gradient(changes):
        def value(params):
            logp = tree.logp(params, team(**changes), 1, support.questions(), turns)
            return (logp * weight).sum()

        return compiled(jax.grad(value))(support.params())

    found = gradient({"attention": "fused", "remat": remat})
    assert gap(found, gradient({})) < 1e-5


def test_a_name_of_attention_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="policy.attention='flash' is not known"):
        support.math_setup(policy__attention="flash")
