"""What rounding explains of a message that is computed again, and what not."""

import numpy as np
import pytest

from c3jax.rollout import replay

RECORD = {"tokens": [5, 7, 9], "logp": [-1.0, -2.0, -0.5], "margin": [0.3, 2e-4, 0.5]}
ALLOWED = replay.Tolerance(1e-4, 2e-4)


def again(**changes):
    return {**RECORD, **changes}


def test_rounding_grows_with_the_largest_score_and_the_epsilon():
    small, large = (replay.tolerance("float32", score) for score in (4, 40))
    assert small.logp == pytest.approx(1.5e-5, rel=0.02)
    assert large.logp == pytest.approx(10 * small.logp)
    few = replay.tolerance("bfloat16", 40)
    assert few.is_mean and not large.is_mean
    assert 100 * large.logp < few.logp < 2**16 * large.logp


def test_a_token_may_differ_only_where_its_lead_is_within_rounding():
    found = replay.compare(RECORD, again(tokens=[5, 8, 9]), ALLOWED._replace(margin=1))
    assert found.agrees and found.near_tie == 1
    for tokens in ([5, 8, 9], [6, 7, 9], [5, 7], [5, 7, 9, 4]):
        found = replay.compare(RECORD, again(tokens=tokens), ALLOWED)
        assert not found.agrees and "differs" in found.where


@pytest.mark.parametrize(("forced", "agrees"), [(True, False), (False, True)])
def test_behind_a_token_that_differs_only_what_follows_the_record_counts(
    forced, agrees
):
    other = again(tokens=[5, 8, 9], logp=[-1.0, -3.0, -0.6])
    near = replay.Tolerance(1e-4, 1e-3)
    found = replay.compare(RECORD, other, near, follows_record=forced)
    assert found.agrees == agrees
    assert found.logp_gap == pytest.approx(0.1 if forced else 0)


def test_a_message_is_judged_by_its_mean_or_by_its_worst_token():
    gaps = np.array([0.0, 0.0, 0.03])
    other = again(logp=(np.array(RECORD["logp"]) + gaps).tolist())
    of_all = replay.Tolerance(0.02, 0.0, is_mean=True)
    found = replay.compare(RECORD, other, of_all)
    assert found.agrees and found.logp_gap == pytest.approx(0.03 / 3**0.5)
    assert not replay.compare(RECORD, other, of_all._replace(is_mean=False)).agrees


def test_nothing_allows_nothing():
    assert replay.compare(RECORD, RECORD, replay.NOTHING).agrees
    lost = again(logp=[float("nan")] * len(RECORD["logp"]))
    assert not replay.compare(RECORD, lost, ALLOWED).agrees
    least = float(np.nextafter(np.float32(-0.5), np.float32(0)))
    other = again(logp=[-1.0, -2.0, least])
    assert not replay.compare(RECORD, other, replay.NOTHING).agrees
