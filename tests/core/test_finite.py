"""A number that is infinite or NaN is found and named."""

import jax.numpy as jnp
import numpy as np
import pytest

from c3jax.core import finite


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20])
def test_the_first_tensor_without_a_finite_norm_is_named(value):
    tree = {"shared": {"a": jnp.ones(3), "b": jnp.array([1.0, value])}}
    assert int(finite.first(tree)) == 2
    with pytest.raises(finite.NonFiniteError, match=r"shared\.b has no finite norm"):
        finite.check_params(tree)
    finite.check_params({"shared": {"a": jnp.full(3, 1e18)}})


def test_an_update_says_whether_a_gradient_or_a_parameter_is_at_fault():
    shapes = {"own": {"w": np.ones(2)}}
    finite.check_update({"loss": 1.0, "nonfinite": 0.0}, shapes)
    for place, what in (1, "gradient.own.w"), (2, "parameters.own.w"):
        stats = {"loss": np.nan, "nonfinite": float(place)}
        with pytest.raises(finite.NonFiniteError, match=f"{what} .*, loss nan"):
            finite.check_update(stats, shapes)


def test_an_array_says_where_it_is_not_finite():
    with pytest.raises(finite.NonFiniteError, match="a reward is inf in 1 of 2 places"):
        finite.check([np.inf, 0.0], "a reward")
