"""Fidelity, variance and influence against what is known by other means."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from c3jax import audit
from c3jax.audit import diagnostics


def test_fidelity_is_the_rank_correlation_over_all_messages():
    rng = np.random.default_rng(0)
    advantage = rng.integers(-3, 4, (30, 5)) / 4
    target = advantage + rng.normal(size=advantage.shape)
    found = audit.fidelity(advantage, target)
    wanted = scipy_stats.spearmanr(advantage.ravel(), target.ravel()).statistic
    assert found.spearman.mean == pytest.approx(wanted, abs=1e-12)
    wanted = scipy_stats.pearsonr(advantage.ravel(), target.ravel()).statistic
    assert found.pearson.mean == pytest.approx(wanted, abs=1e-12)
    assert found.error.mean == pytest.approx(((advantage - target) ** 2).mean())
    assert found.spearman.low < found.spearman.mean < found.spearman.high
    assert found.ceiling is None


def test_a_context_drawn_twice_counts_as_two():
    rng = np.random.default_rng(1)
    one, other = rng.integers(0, 5, (2, 40)).astype(float)
    weight = rng.integers(0, 4, 40)
    ranks = diagnostics.Ranks(one, other)
    twice = [np.repeat(values, weight) for values in (one, other)]
    wanted = scipy_stats.spearmanr(*twice).statistic
    assert ranks.correlation(weight.astype(float)) == pytest.approx(wanted)


def test_the_ceiling_is_what_perfect_credit_reaches_against_a_noisy_target():
    rng = np.random.default_rng(2)
    worth = rng.normal(size=(3000, 4))
    for noise in (0.5, 2.0):
        target = worth + noise * rng.normal(size=(3000, 4))
        found = audit.fidelity(worth, target, np.full((3000, 4), noise**2))
        assert found.ceiling.mean == pytest.approx(found.pearson.mean, abs=0.02)
        assert found.ceiling.low < 1 / np.sqrt(1 + noise**2) < found.ceiling.high


def test_messages_that_are_not_there_change_nothing():
    rng = np.random.default_rng(3)
    advantage, target = rng.normal(size=(2, 20, 3))
    more = np.full((20, 5), np.nan)
    wider, aim = more.copy(), more.copy()
    wider[:, [0, 2, 4]], aim[:, [0, 2, 4]] = advantage, target
    assert audit.fidelity(wider, aim) == audit.fidelity(advantage, target)
    assert audit.variance(wider) == audit.variance(advantage)


def test_variance_is_within_contexts():
    advantage = np.array([[1.0, 3.0], [10.0, 10.0]] * 2)
    assert audit.variance(advantage).mean == pytest.approx(0.5)
    moved = advantage + np.array([[5.0], [7.0]] * 2)
    assert audit.variance(moved).mean == pytest.approx(0.5)


def channel(kind, contexts, candidates, replies, rng):
    """Replies with a known mutual information, and that in nats."""
    sent = np.arange(candidates)[None, :, None]
    shape = (contexts, candidates, replies)
    if kind == "independent":
        return rng.integers(0, candidates, shape), 0.0
    if kind == "deterministic":
        return np.broadcast_to(sent + 7, shape), math.log(candidates)
    kept = rng.random(shape) < 0.6
    said = np.where(kept, sent, rng.integers(0, candidates, shape))
    right = 0.6 + 0.4 / candidates
    wrong = 0.4 / candidates
    noise = -right * math.log(right) - (candidates - 1) * wrong * math.log(wrong)
    return said, math.log(candidates) - noise


@pytest.mark.parametrize("kind", ["independent", "deterministic", "noisy"])
def test_corrected_influence_is_the_mutual_information_of_a_known_channel(kind):
    rng = np.random.default_rng(4)
    symbols, wanted = channel(kind, 60, 8, 256, rng)
    found = audit.influence(symbols, correct=True)
    slack = 1e-12
    assert found.value.low - slack <= wanted <= found.value.high + slack
    assert abs(found.null.mean) < 1e-3


def test_uncorrected_influence_of_few_replies_is_bias_and_the_null_says_so():
    rng = np.random.default_rng(5)
    symbols = rng.integers(0, 16, (400, 8, 8))
    found = audit.influence(symbols)
    assert found.value.mean == pytest.approx(0.79, abs=0.02)
    assert found.null.low - 0.02 < found.value.mean < found.null.high + 0.02


def test_smoothing_is_as_the_formula_says():
    found = audit.influence(np.array([[[3, 3, 9], [9, 9, 9]]] * 4), smoothing=0.5)
    rate = np.array([[2.5, 1.5], [0.5, 3.5]]) / 4
    mixed = rate.mean(0)
    assert found.value.mean == pytest.approx(
        (rate * np.log(rate / mixed)).sum(1).mean()
    )


def test_rare_symbols_count_as_one():
    symbols = np.array([[[5, 5, 5, 1], [5, 5, 6, 2]]] * 4)
    same = np.array([[[5, 5, 5, 0], [5, 5, 0, 0]]] * 4)
    rare = audit.influence(symbols, common=1).value
    assert rare == audit.influence(same, common=64).value


def test_symbols_that_are_not_there_change_nothing():
    rng = np.random.default_rng(6)
    symbols = rng.integers(0, 4, (10, 3, 5))
    wider = np.full((10, 4, 7), -1)
    wider[:, [0, 1, 3], 1:6] = symbols
    assert audit.influence(wider).value == audit.influence(symbols).value


def test_correlation_is_not_defined_for_contexts_that_do_not_vary():
    rng = np.random.default_rng(7)
    credit = 1e3 + np.repeat([[0.1], [0.1], [0.1], [0.3]], 3, 1)
    target = rng.normal(size=(4, 3))
    # A third of the draws have the first three alone, so credit that is all the same.
    found = audit.fidelity(credit, target)
    assert np.isfinite([found.pearson, found.spearman]).all()
    assert found.pearson.low <= found.pearson.mean <= found.pearson.high


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("contexts", [1, 2, 3])
def test_too_few_contexts_are_said_in_words_and_nothing_is_warned_of(contexts):
    rng = np.random.default_rng(8)
    credit, worth, noise = rng.random((3, contexts, 4))
    symbols = rng.integers(0, 2, (contexts, 4, 8))
    for figure in (
        lambda: audit.fidelity(credit, worth, noise),
        lambda: audit.variance(credit),
        lambda: audit.influence(symbols, correct=True),
    ):
        with pytest.raises(ValueError, match=rf"too few contexts \({contexts}\)"):
            figure()


@pytest.mark.parametrize("replies", [2, 8, 64])
def test_corrected_influence_is_no_more_than_there_are_messages_to_tell_apart(replies):
    rng = np.random.default_rng(9)
    sent = np.broadcast_to(np.arange(8)[:, None], (30, 8, replies))
    said = np.where(rng.random(sent.shape) < 0.8, sent, rng.integers(0, 8, sent.shape))
    found = audit.influence(said, correct=True)
    assert 0 <= found.value.low <= found.value.mean <= found.value.high <= math.log(8)
    assert found.null.low >= 0 and found.beyond is None
    plain = audit.influence(said)
    gap = plain.value.mean - plain.null.mean
    assert plain.beyond.mean == pytest.approx(gap)


def test_replies_that_were_mostly_seen_once_do_not_identify_influence():
    rng = np.random.default_rng(10)
    symbols = rng.integers(0, 40, (30, 8, 4))
    assert diagnostics.coverage(symbols) < 0.5
    with pytest.raises(ValueError, match="not identifiable"):
        audit.influence(symbols, correct=True)
    assert audit.influence(symbols).value.mean > 0


def test_coverage_is_the_share_of_replies_that_a_candidate_gave_more_than_once():
    symbols = np.array([[[4, 4, 7], [4, 5, 6]], [[1, 1, -1], [9, -1, -1]]])
    assert diagnostics.coverage(symbols) == pytest.approx(1 - 5 / 9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: audit.variance(np.zeros((4, 1))), "fewer than 2 candidates"),
        (lambda: audit.variance(np.zeros((1, 3))), "too few contexts"),
        (lambda: audit.variance(np.zeros(3)), "wanted \\[contexts, candidates\\]"),
        (
            lambda: audit.fidelity(np.eye(4), np.eye(4)),
            "target is the advantage itself",
        ),
        (
            lambda: audit.fidelity(np.zeros((4, 4)), np.eye(4)),
            "advantage is the same for all",
        ),
        (
            lambda: audit.fidelity(np.eye(4), np.full((4, 4), np.nan)),
            "target is missing",
        ),
        (lambda: audit.fidelity(np.eye(4), np.eye(5)), "give one of each"),
        (
            lambda: audit.influence(np.zeros((4, 2, 1), int)),
            "one continuation",
        ),
        (lambda: audit.influence(np.zeros((3, 2, 2))), "wanted whole numbers"),
        (
            lambda: audit.influence(np.zeros((4, 1, 2), int)),
            "fewer than 2 candidates",
        ),
    ],
)
def test_what_would_mean_nothing_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
