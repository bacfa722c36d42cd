import numpy as np
import pytest

from c3jax.core.types import Evidence
from c3jax.credit import removal

CHAIN = ((), (0,))
VOTE = ((), (), (), (0, 1, 2))


def test_removal_subtracts_what_the_team_earns_without_the_role():
    reward = np.array([[[1.0], [0.0]]])
    alone = (np.array([[[0.5]]]), np.array([[[0.0], [1.0]]]))
    first, last = removal.agent_removal(Evidence(reward, CHAIN, without=alone))
    np.testing.assert_allclose(first, [[[0.5, -0.5]]])
    np.testing.assert_allclose(last, [[[1.0], [-1.0]]])


@pytest.mark.parametrize(
    ("ballot", "correct", "counted", "pivots"),
    [
        # Two right against one wrong: each right one turns a win into a tie.
        ([1, 1, 0], [1, 1, 0], 1.0, [0.5, 0.5, 0.0]),
        # All agree: nobody decides.
        ([2, 2, 2], [1, 1, 1], 1.0, [0.0, 0.0, 0.0]),
        # Three answers, one right: a tie of three, of two without it or another.
        ([0, 1, 2], [0, 1, 0], 1 / 3, [1 / 3 - 1 / 2, 1 / 3, 1 / 3 - 1 / 2]),
        # One abstains: a tie of the other two.
        ([0, -1, 1], [1, 0, 0], 0.5, [0.5, 0.0, -0.5]),
        ([-1, -1, -1], [0, 0, 0], 0.0, [0.0, 0.0, 0.0]),
    ],
)
def test_a_ballot_earns_what_it_decides(ballot, correct, counted, pivots):
    ballot, correct = np.array(ballot), np.array(correct)
    np.testing.assert_allclose(removal.majority(ballot, correct), counted)
    np.testing.assert_allclose(removal.pivots(ballot, correct), pivots)


def naive_majority(ballots, worth):
    """Counted with a dictionary; worth by answer."""
    counts = {}
    for ballot in ballots:
        if ballot >= 0:
            counts[ballot] = counts.get(ballot, 0) + 1
    top = [a for a, n in counts.items() if n == max(counts.values())]
    return sum(worth[a] for a in top) / len(top) if top else 0.0


def test_majority_and_pivots_follow_a_count_by_hand():
    rng = np.random.default_rng(0)
    worth = [0.0, 1.0, 0.5, 0.0]
    for ballots in rng.integers(-1, 4, (200, 5)):
        correct = np.array([worth[b] if b >= 0 else 0.0 for b in ballots])
        whole = naive_majority(ballots, worth)
        np.testing.assert_allclose(removal.majority(ballots, correct), whole)
        expected = [
            whole - naive_majority(np.delete(ballots, k), worth) for k in range(5)
        ]
        np.testing.assert_allclose(removal.pivots(ballots, correct), expected)


def test_a_voter_is_credited_over_all_that_it_may_vote_with():
    ballots = (np.array([[1, 0]]), np.array([[1]]), np.array([[0, 2]]))
    correct = tuple((ballot == 1).astype(float) for ballot in ballots)
    known = Evidence(np.zeros((1, 2, 1, 2, 1)), VOTE, ballots=ballots, correct=correct)
    *voters, tally = removal.ccpo_vote(known)
    # First voter: with (1, 0) a 1 makes 2 to 1 of a tie, a 0 loses the tie; with (1, 2)
    # a 1 makes 2 to 1 of a tie, a 0 makes a tie of three of one of two.
    np.testing.assert_allclose(voters[0], [[[0.5, (-0.5 + 1 / 3 - 1 / 2) / 2]]])
    assert [each.shape for each in voters] == [(1, 1, 2), (1, 1, 1), (1, 1, 2)]
    np.testing.assert_array_equal(tally, np.zeros((1, 4, 1)))
    for k, alternatives in enumerate(voters):
        for j in range(alternatives.shape[-1]):
            policies = [
                [
                    ballots[r][0, i] if r != k else ballots[k][0, j]
                    for r, i in enumerate(c)
                ]
                for c in np.ndindex(2, 1, 2)
                if c[k] == j
            ]
            worth = [0.0, 1.0, 0.0]
            delta = [
                naive_majority(b, worth) - naive_majority(np.delete(b, k), worth)
                for b in policies
            ]
            np.testing.assert_allclose(alternatives[0, 0, j], np.mean(delta))
