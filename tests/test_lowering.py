"""Every program of a run is lowered for GPUs and TPUs, though none is here."""

import dataclasses
import functools
import json
import pathlib

import jax
import pytest
import transformers

from c3jax.core import sharding
from c3jax.policy import families
from tests import steps, support


@functools.cache
def plain():
    return steps.Case(support.team(branching=(2, 2)), 11)


@functools.cache
def fused():
    """Numbers of 16 bits, and shapes that the kernels of both platforms take."""
    roles = tuple(dataclasses.replace(role, max_tokens=128) for role in support.DUO)
    team = support.team(roles, branching=(2, 2)).reshaped(
        attention="fused",
        dtype="bfloat16",
        head_dim=64,
        unroll=1,
        remat="layer",
        logits_chunk=64,
    )
    return steps.Case(team, 128), KERNELS


KERNELS = {
    "cuda": ("@__cudnn$fmhaSoftmax(", "@__cudnn$fmhaSoftmaxBackward("),
    "tpu": ('"splash_mha_fwd_residuals"', '"splash_mha_dkv_no_residuals"'),
}
# How many of a platform's kernels are in a program: none, without and with a gradient.
NONE, FORWARD, BOTH = ({"cuda": n, "tpu": n} for n in range(3))
# Two siblings at a time are too few for a tile of the TPU's.
FEW = {"cuda": 1, "tpu": 0}
STEPS = {
    "sample": FORWARD,
    "read for a slot": FORWARD,
    "insert into a slot": NONE,
    "write in slots": FEW,
    "leave a slot": NONE,
    "replay": FORWARD,
    "logp": FORWARD,
    "update": BOTH,
    "add a piece": BOTH,
    "apply": NONE,
    "imitate": BOTH,
    "guess": FORWARD,
}


# With kernels, these are exported at the sizes of the paper.
EXPORTED = (
    *("read for a slot", "write in slots", "logp", "update", "add a piece", "apply"),
)


@pytest.mark.parametrize(
    "step",
    [
        step
        if step in ("sample", "update")
        else pytest.param(step, marks=pytest.mark.slow)
        for step in STEPS
    ],
)
def test_a_step_is_lowered_for_both_platforms(step):
    program, args = steps.STEPS[step](plain())
    assert program.trace(*args).lower(lowering_platforms=tuple(KERNELS))


@pytest.mark.parametrize(
    "step",
    [
        step
        if step in ("sample", "guess")
        else pytest.param(step, marks=pytest.mark.slow)
        for step in STEPS
        if step not in EXPORTED
    ],
)
def test_a_step_is_lowered_with_the_kernels_of_the_platform(step):
    case, kernels = fused()
    program, args = steps.STEPS[step](case)
    traced = program.trace(*args)
    for platform, names in kernels.items():
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        found = [name for name in names if name in text]
        assert found == [*names[: STEPS[step][platform]]]


@functools.cache
def qwen3_4b():
    """The paper's policy and team over eight devices, as `configs/math.py` has them."""
    config = support.page_config("math:qwen3_4b")
    path = pathlib.Path(__file__).parent / "policy" / "configs" / "qwen3_4b.json"
    published = transformers.AutoConfig.for_model(**json.loads(path.read_text()))
    mesh = sharding.make(2, 2, 2)
    computed = config.policy.to_dict()
    del computed["path"], computed["end_tokens"], computed["adapters"]
    shape = families.shape(published, mesh=mesh, **computed)
    sampled = {k: v for k, v in config.sampling.items() if k != "max_concurrent"}
    limit = config.teams.duo.actor.max_tokens
    roles = tuple(dataclasses.replace(role, max_tokens=limit) for role in support.DUO)
    team = support.team(roles, **sampled)
    team = team.replace(policies=support.policies(shape), mesh=mesh)
    return steps.Case(team, config.data.prompt_tokens, 8)


_ARRAYS = jax.Array, jax.ShapeDtypeStruct


def bound(program, args):
    """A program of its arrays alone, which is what `jax.export` takes, and these."""

    def is_array(arg):
        leaves = jax.tree.leaves(arg)
        return bool(leaves) and all(isinstance(leaf, _ARRAYS) for leaf in leaves)

    arrays = [arg for arg in args if is_array(arg)]

    def run(*arrays):
        given = iter(arrays)
        return program(*(next(given) if is_array(arg) else arg for arg in args))

    return jax.jit(run), arrays


# Kernels whose form JAX does not promise to keep; nobody keeps what is exported here.
_ALLOWED = [
    jax.export.DisabledSafetyCheck.custom_call(name)
    for name in (
        *("__cudnn$fmhaSoftmax", "__cudnn$fmhaSoftmaxBackward", "tpu_custom_call"),
        "ApproxTopK",
    )
]


@pytest.mark.parametrize(
    ("step", "platform"),
    [
        pytest.param(
            *(step, platform), marks=[] if step == "update" else pytest.mark.slow
        )
        for step in EXPORTED
        for platform in ("tpu", "cuda")
    ],
)
def test_a_step_is_exported_at_the_sizes_of_the_paper(step, platform):
    program, arrays = bound(*steps.STEPS[step](qwen3_4b()))
    export = jax.export.export(program, platforms=(platform,), disabled_checks=_ALLOWED)
    found = export(*arrays)
    assert found.nr_devices == 8
    names = [name for name in KERNELS[platform] if name in found.mlir_module()]
    assert names == [*KERNELS[platform][: STEPS[step][platform]]]
