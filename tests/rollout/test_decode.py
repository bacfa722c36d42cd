import dataclasses
import re

import jax
import jax.numpy as jnp
import pytest

from c3jax.core import keys, sharding
from c3jax.policy import decoder
from c3jax.rollout import tree
from tests import support

VOCAB = 3008


@pytest.mark.parametrize("data, tensor", [(8, 1), (4, 2)])
def test_no_device_receives_the_logits_of_questions_that_are_not_its_own(data, tensor):
    mesh = sharding.make(data, 1, tensor)
    role = dataclasses.replace(support.DUO[0], answers=True)
    team = support.team((role,), support.DUO_SCRIPTS[:1], (4,), top_k=5, top_p=0.9)
    team = team.reshaped(vocab=VOCAB).replace(mesh=mesh)

    def abstract(p):
        where = sharding.parameter(mesh, p.shape, p.axes)
        return jax.ShapeDtypeStruct(p.shape, jnp.float32, sharding=where)

    questions = jax.device_put(support.questions(8, roles=1), sharding.batch(mesh))
    params = {"shared": decoder.over_params(abstract, team.policies[0].shape)}
    program = tree.sample.lower(params, team, questions, keys.stream(0, "rollout"))
    gathered = re.findall(
        r"= \w+\[([\d,]*)\]\S* (?:all-gather|all-to-all|collective-permute)",
        program.compile().as_text(),
    )
    if tensor == 1:
        assert gathered == []
    # Of its own questions a device needs whole rows: 8 / data questions, 4 siblings.
    assert set(gathered) <= {f"{8 // data},4,{VOCAB}"}
