"""Which losses a config may ask for, and what a run then remembers."""

import jax
import numpy as np
import pytest

from c3jax.core import checkpoint
from c3jax.credit import losses
from c3jax.learn import training, update, warm_start
from c3jax.setup import objectives
from tests import support


def test_the_page_asks_for_the_clipped_ratio_of_tokens_and_nothing_else():
    setup = support.math_setup()
    assert setup.objective == objectives.Objective(
        clip=0.2, kl=0.0, epochs=1, minibatches=1
    )
    assert setup.objective.trusted == (0.2, 0.2)
    assert training.abstract_state(setup).kl == ()


@pytest.mark.parametrize(
    ("changes", "trusted"),
    [
        ({}, (0.2, 0.2)),
        ({"clip": 0.1}, (0.1, 0.1)),
        ({"clip_high": 0.28}, (0.2, 0.28)),
        ({"ratio": "turn"}, (0.2, 0.2)),
        ({"ratio": "sequence"}, (3e-4, 4e-4)),
        ({"ratio": "sequence", "clip": 1e-3}, (1e-3, 1e-3)),
        ({"ratio": "sequence", "clip": 1e-3, "clip_high": 2e-3}, (1e-3, 2e-3)),
    ],
)
def test_a_ratio_is_trusted_as_far_as_is_customary_or_asked_for(changes, trusted):
    changes = {f"train__{name}": value for name, value in changes.items()}
    assert support.math_setup(**changes).objective.trusted == trusted


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratio": "tokens"}, "train.ratio='tokens' .* did you mean 'token'"),
        ({"mean": "message"}, "train.mean='message' is not known"),
        ({"kl": 0.1, "kl_estimator": "k2"}, "train.kl_estimator='k2' is not known"),
        ({"kl": 0.1, "kl_in": "advantage"}, "train.kl_in='advantage' is not known"),
        (
            {"zero_advantage": "mask"},
            r"train.zero_advantage='mask' .*pick one of \['drop', 'keep'\]",
        ),
        ({"truncated": "drop"}, "train.truncated='drop' is not known"),
        ({"clip": 0.0}, "train.clip=0.0: it must be above 0, or None"),
        ({"clip_high": -0.1}, "train.clip_high=-0.1: it must be above 0"),
        ({"dual_clip": 0.9}, "train.dual_clip=0.9: it must be above 1"),
        ({"entropy": -1.0}, "train.entropy=-1.0: it must be 0 or more, or None"),
        ({"kl": 0.1, "kl_target": 0.0}, "train.kl_target=0.0: it must be above 0"),
        ({"kl_target": 0.1}, "train.kl_target=0.1: train.kl=0 .* would stay there"),
        ({"kl_estimator": "k1"}, "train.kl_estimator='k1' is read by nobody"),
        ({"kl_in": "reward"}, "train.kl_in='reward' is read by nobody"),
        ({"kl": 0.1, "kl_estimator": "k1"}, "gradient of k1 is zero in the mean"),
        ({"ratio": "none", "clip": 0.2}, "train.clip=0.2 is read by nobody"),
        ({"ratio": "none", "clip_high": 0.2}, "train.clip_high=0.2 is read by nobody"),
        ({"ratio": "none", "dual_clip": 3.0}, "train.dual_clip=3.0 is read by nobody"),
        ({"ratio": "none", "epochs": 2}, "train.epochs=2 .* only a ratio corrects"),
        ({"ratio": "none", "minibatches": 2}, "train.minibatches=2: .* Set both to 1"),
    ],
)
def test_a_loss_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        support.math_setup(**{f"train__{name}": v for name, v in changes.items()})


def test_credit_is_scaled_once():
    with pytest.raises(ValueError, match="scales credit that credit.std=True has"):
        support.math_setup(train__whiten=True, credit__std=True)
    assert support.math_setup(train__whiten=True).objective.whiten


@pytest.mark.parametrize("page", ["math:qwen3_4b", "code:qwen2_5_coder_3b"])
def test_the_pages_of_the_paper_adapt_the_kl(page):
    c = support.page_config(page).train
    assert (c.kl, c.kl_target, c.kl_estimator, c.kl_in) == (0.01, 0.1, "k3", "loss")


def test_the_weight_of_the_kl_is_a_part_of_what_is_saved(tmp_path):
    setup = support.math_setup(train__kl=0.01, train__kl_target=0.1)
    abstract = training.abstract_state(setup)
    assert abstract.kl.shape == () and abstract.kl.dtype == np.float32
    state = training.initial_state(setup, warm_start.initial_params(setup))
    assert state.kl == np.float32(0.01)
    state, stats = update.update_kl_weight(
        state, {"kl": np.float32(0.3)}, setup.objective
    )
    assert stats["kl_weight"] == np.float32(0.01)
    wanted = losses.adapted(np.float32(0.01), np.float32(0.3), 0.1)
    with checkpoint.Store(tmp_path) as store:
        store.save(1, state, {})
        store.wait()
        again, _ = store.restore(abstract)
    assert again.kl == state.kl == wanted
    jax.tree.map(np.testing.assert_array_equal, again.params, state.params)
