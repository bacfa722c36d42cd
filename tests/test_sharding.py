"""What devices send each other: one layer's parameters, never what questions need.

Compiled programs are searched for collectives. The sizes are such that the keys and
values of all questions, the logits of all, and the parameters of all layers are each
larger than anything that may be brought together.
"""

import dataclasses
import functools
import math
import re
from typing import NamedTuple

import jax
import pytest

from c3jax.core import sharding
from tests import steps, support

SHAPE = dataclasses.replace(
    support.SHAPE,
    vocab=320,
    width=48,
    kv_heads=4,
    layers=6,
    head_dim=12,
    hidden=80,
    tied=True,
    qk_norm=False,
    unroll=1,
)
ROLES = tuple(dataclasses.replace(role, max_tokens=32) for role in support.DUO)
QUESTIONS, PROMPT = 16, 64


class Moved(NamedTuple):
    """What one operation brings to a device from others.

    Attributes:
        how: the operation.
        dims: of its result.
    """

    how: str
    dims: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.dims)


def moved(program: jax.stages.Compiled) -> list[Moved]:
    """All results of collectives in a compiled program, one each of a tuple."""
    kinds = "all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute"
    found = []
    text = program.as_text()
    for result, how in re.findall(rf" = (.*?) ({kinds})(?:-start)?\(", text):
        for dims in re.findall(r"\w+\[([\d,]*)\]", result):
            found.append(Moved(how, tuple(map(int, dims.split(","))) if dims else ()))
    return found


@functools.cache
def case(mesh: tuple[int, ...], roles: int, told: bool = True) -> steps.Case:
    """the instruction: whether the decoder knows of the devices."""
    mesh = sharding.make(*mesh)
    shape = dataclasses.replace(SHAPE, mesh=mesh if told else None)
    members = ROLES if roles == 2 else (dataclasses.replace(ROLES[0], answers=True),)
    first, second = support.DUO_SCRIPTS
    templates = first, dataclasses.replace(second, instruction=support.INSTRUCTION)
    team = support.team(members, templates[:roles], (2,) * roles)
    return steps.Case(
        team.replace(policies=support.policies(shape, roles), mesh=mesh),
        PROMPT,
        QUESTIONS,
    )


def compiled(case: steps.Case, step: str) -> list[Moved]:
    program, args = steps.STEPS[step](case)
    return moved(program.lower(*args).compile())


def too_large(found: list[Moved], case: steps.Case) -> list[Moved]:
    """What is larger than may be brought to a device.

    That is a table of tokens; the logits of one token of its own questions; as a sum
    the context and the messages of one slot, and where `tensor` spreads a layer over
    devices, the hidden states of its own questions.
    """
    s, mesh = case.team.policies[0].shape, case.team.mesh
    count = math.prod(case.team.protocol.branching)
    tokens = max(count * ROLES[0].max_tokens, PROMPT)
    own, tensor = QUESTIONS // sharding.batch_size(mesh), mesh.shape["tensor"]
    table = s.vocab * s.width // tensor
    # The sizes tell apart what is looked for.
    assert own * count * s.vocab < table < s.layers * s.width * s.hidden // tensor
    each = tokens * s.kv_heads * s.head_dim
    sums = max(table, s.layers * each, own * tokens * s.width if tensor > 1 else 0)
    assert max(table, sums) < QUESTIONS * each
    most = {"all-reduce": sums}
    return [each for each in found if each.size > most.get(each.how, table)]


ALL, THREE = (1, 8, 1), (2, 2, 2)
# Mesh, program, and the number of roles: two where one reads another's message.
PROGRAMS = [
    *((mesh, "write in slots", 2) for mesh in (ALL, THREE)),
    *((mesh, "read for a slot", 2) for mesh in (ALL, THREE)),
    *((mesh, "insert into a slot", 2) for mesh in (ALL, THREE)),
    *((mesh, "leave a slot", 2) for mesh in (ALL, THREE)),
    *((mesh, "sample", 1) for mesh in (ALL, THREE)),
    *((mesh, "logp", 2) for mesh in (ALL, THREE)),
    (THREE, "guess", 2),
    # The gradient, which takes long to compile, once in each of its programs.
    *((THREE, "update", 1), (ALL, "add a piece", 1), (ALL, "apply", 1)),
]


@pytest.mark.parametrize(
    ("mesh", "step", "roles"),
    [
        pytest.param(*each, marks=pytest.mark.slow if each[0] == ALL else [])
        for each in PROGRAMS
    ],
)
def test_no_device_receives_what_belongs_to_the_questions_of_others(mesh, step, roles):
    here = case(mesh, roles)
    assert too_large(compiled(here, step), here) == []


def test_a_decoder_that_does_not_know_of_the_devices_has_states_gathered():
    untold = case(THREE, 1, told=False)
    assert too_large(compiled(untold, "logp"), untold)


@pytest.mark.parametrize("whole", ["keys and values", "parameters"])
def test_what_is_gathered_whole_is_found(whole):
    here = case(THREE, 2)
    if whole == "parameters":
        given = here.params["shared"]["layers"]["up"]
    else:
        given = here.pool.segments[0].k
    gather = jax.jit(lambda x: x, out_shardings=sharding.replicated(here.team.mesh))
    found = moved(gather.lower(given).compile())
    assert math.prod(given.shape) in {each.size for each in too_large(found, here)}
