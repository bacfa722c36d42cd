import inspect

import numpy as np
import pytest

from c3jax.core.types import Evidence
from c3jax.credit import api, baselines, branchings


@pytest.mark.parametrize(
    ("name", "levels", "expected"),
    [
        ("c3", 1, (8,)),
        ("c3", 2, (4, 2)),
        ("c3", 3, (2, 2, 2)),
        ("magrpo", 1, (8,)),
        ("magrpo", 2, (8, 1)),
        ("rloo", 3, (8, 1, 1)),
        ("c3_shrunk", 2, (4, 2)),
        ("ccpo_vote", 4, (2, 2, 2, 1)),
        ("c3_vine", 1, (8,)),
        ("c3_vine", 2, (4, 4)),
        ("c3_vine", 3, (3, 3, 2)),
    ],
)
def test_branching_resolves_per_estimator(name, levels, expected):
    assert branchings.branching(name, levels, 8, None) == expected


def test_a_given_branching_is_kept():
    assert branchings.branching("c3", 2, 8, (2, 4)) == (2, 4)


def test_decisions_of_a_comb_share_the_budget_as_evenly_as_continuations_allow():
    assert branchings.branching("c3_vine", 1, 8, None, continuations=2) == (8,)
    assert branchings.branching("c3_vine", 2, 8, None, continuations=2) == (2, 4)
    assert branchings.branching("c3_vine", 2, 17, None, continuations=2) == (4, 9)
    assert branchings.branching("c3_vine", 3, 12, None, continuations=2) == (2, 2, 4)
    assert branchings.branching("c3_vine", 2, 8, (3, 2), continuations=2) == (3, 2)


def test_only_a_comb_continues_its_alternatives():
    assert branchings.continuations("c3_vine", None) == 2
    assert branchings.continuations("c3_vine", 1) == 1
    assert branchings.continuations("c3", None) == 0
    with pytest.raises(ValueError, match=r"continuations=2 is read by nobody.*c3_vine"):
        branchings.continuations("c3", 2)
    with pytest.raises(ValueError, match="protocol.continuations=0: it must be 1 or"):
        branchings.continuations("c3_vine", 0)


@pytest.mark.parametrize(
    ("levels", "given", "counts", "message"),
    [
        (2, (4, 4), False, r"\(4, 4\) with protocol.continuations=2 scores 12 .*=8"),
        (2, (1, 6), False, r"along one episode, so every entry must be 2.*\(2, 4\)"),
        (3, None, False, "try 10, or protocol.continuations=1 with 6 or more"),
        (4, None, True, "ballots are combined without another answer; take 'c3'"),
    ],
)
def test_a_comb_that_does_not_fit_is_refused(levels, given, counts, message):
    with pytest.raises(ValueError, match=message):
        branchings.branching("c3_vine", levels, 8, given, counts, continuations=2)


@pytest.mark.parametrize(
    ("name", "levels", "budget", "given", "message"),
    [
        ("c3", 2, 8, (8, 1), r"compares siblings.*Try \(4, 2\)"),
        ("c3", 2, 8, (2, 2), "scores 4 answers.*budget=8"),
        ("c3", 2, 8, (2, 2, 2), "3 entries for 2 roles"),
        ("c3", 2, 8, (4, 0), "positive integer"),
        ("c3", 4, 8, None, "try 16"),
        ("c3", 2, 1, None, "at least 2"),
        ("magrpo", 2, 8, (4, 2), r"independent episodes.* Try \(8, 1\)"),
        ("c3_shrunk", 2, 8, (1, 8), r"first entry must be 2 .* Try \(4, 2\)"),
        ("ccpo_vote", 3, 8, (2, 2, 2), r"last entry.* must be 1. Try \(4, 2, 1\)"),
    ],
)
def test_a_branching_that_does_not_fit_is_refused(name, levels, budget, given, message):
    with pytest.raises(ValueError, match=message):
        branchings.branching(name, levels, budget, given)


def test_any_tree_with_two_first_messages_will_do_for_a_blend():
    for given in ((8, 1), (4, 2), (2, 4)):
        assert branchings.branching("c3_shrunk", 2, 8, given) == given


def test_the_options_of_an_estimator_are_those_of_its_function():
    assert list(api.ESTIMATORS["c3"].options) == ["std"]
    assert list(api.ESTIMATORS["ccpo"].options) == ["lam", "baseline"]
    assert list(api.ESTIMATORS["agent_removal"].options) == []
    for name, estimator in api.ESTIMATORS.items():
        for option in estimator.options.values():
            assert option.default is not inspect.Parameter.empty, (name, option)


OWN = """
from c3jax.credit import api

def mine(evidence, memory, *, share: float = 0.5):
    return share, memory

MINE, OTHER = api.Estimator(mine, plan="siblings"), api.Estimator(mine, plan="own")
"""


def test_an_estimator_in_a_file_of_ones_own_is_found_by_its_name(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN + f"open({str(tmp_path / 'log')!r}, 'a').write('read ')\n")
    estimator = api.configured(f"{file}:MINE", {"share": 0.7, "std": None})
    assert estimator.fn(None, ()) == (0.7, ()) and estimator.plan == "siblings"
    with pytest.raises(ValueError, match=r"options of credit.name=.* \['share'\]"):
        api.configured(f"{file}:MINE", {"std": True})
    for name, message in (
        ("OTHER", r"plan='own' is not known; .*pick one of \['episodes'"),
        (
            "mine",
            r"own.py:mine' is <function .* wanted is a c3jax.credit.api.Estimator",
        ),
        ("MIEN", r"there is no such name; .*own.py has \['MINE', 'OTHER'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            api.find(f"{file}:{name}")
    api.find(f"{file}:MINE", "audit.methods")
    assert (tmp_path / "log").read_text() == "read "  # executed once
    with pytest.raises(ValueError, match="there is no such Python file; write FILE.py"):
        api.find("nowhere.py:MINE")


@pytest.mark.parametrize(
    ("fn", "returned"),
    [
        (lambda evidence, memory: (evidence.reward, memory), r"\[\(4, 2\), \(4, 2\)\]"),
        (lambda evidence, memory: evidence.reward.mean(), "np.float32"),
        (lambda evidence, memory: baselines.c3(evidence), r"\[\(1, 4\), \(1, 4\)\]"),
    ],
)
def test_an_estimator_of_ones_own_is_tried_before_a_run_depends_on_it(fn, returned):
    good = api.ESTIMATORS["c3"]
    api.try_out("own.py:MINE", good, ((), (0,)), (4, 2))
    with pytest.raises(ValueError, match=f"wanted are .* it returned {returned}"):
        api.try_out("own.py:MINE", api.Estimator(fn, "siblings"), ((), (0,)), (4, 2))


def test_options_are_bound_and_none_is_the_default():
    evidence = Evidence(np.array([[[1.0], [0.0], [0.0], [0.0]]]), ((), (0,)))
    std = api.configured("magrpo", {"std": True})
    (first, _), memory = std.fn(evidence, ())
    np.testing.assert_allclose(first[0, 0, 0], np.sqrt(3), rtol=1e-4)
    assert memory == ()
    (first, _), _ = api.configured("magrpo", {"std": None}).fn(evidence, ())
    np.testing.assert_allclose(first[0, 0, 0], 0.75)
    assert api.configured("c3_shrunk", {"decay": 1, "prior": 0}).options["decay"]


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("c4", {}, "credit.name='c4' is not known; did you mean 'c3'"),
        ("c3", {"alpha": 0.5}, r"credit.alpha=0.5 is read by nobody.*\['std'\]"),
        ("mappo", {"std": False}, r"credit.std=False is read by nobody"),
        ("c3", {"std": 1}, "credit.std=1: it must be True or False"),
        ("mappo", {"lam": "1"}, "credit.lam='1': it must be a number, 0 or more"),
        ("mappo", {"lam": -1.0}, "credit.lam=-1.0: it must be a number, 0 or more"),
        ("ccpo_v1", {"period": 1.5}, "credit.period=1.5: it must be a whole number"),
        ("ccpo", {"baseline": "mean"}, r"one of \['group', 'solo', 'batch'\]"),
    ],
)
def test_an_option_that_is_not_one_is_refused(name, given, message):
    with pytest.raises(ValueError, match=message):
        api.configured(name, given)


SOLO, DUO, TRIO = ((),), ((), (0,)), ((), (0,), (0, 1))
VOTE = ((), (), (), (0, 1, 2))
GATHERED = ("value", "q", "without", "solo", "ballots", "correct", "ratings")


@pytest.mark.parametrize(
    ("name", "ancestors"),
    [
        *((name, DUO) for name in api.ESTIMATORS if name != "ccpo_vote"),
        ("c3", VOTE),
        ("ccpo_vote", VOTE),
        ("magrpo", ((), (0,), (0,), (0, 1, 2))),
    ],
)
def test_a_team_that_fits_is_taken(name, ancestors):
    api.check(name, ancestors, GATHERED)


@pytest.mark.parametrize(
    ("name", "ancestors", "message"),
    [
        ("ccpo", TRIO, "credit.name='ccpo' is defined for one role that reads nothing"),
        ("ccpo_v1", SOLO, "one role that reads nothing and one that reads it"),
        ("sepo", ((), ()), "one role that reads nothing and one that reads it"),
        ("ccpo_vote", DUO, "two or more roles that read nothing and a last one"),
        ("ccpo_vote", TRIO, "two or more roles that read nothing and a last one"),
        ("rloo", VOTE, r"roles \[1, 2\] do not read it, .* share one message"),
    ],
)
def test_a_team_that_an_estimator_is_not_defined_on_is_refused(
    name, ancestors, message
):
    with pytest.raises(ValueError, match=message):
        api.check(name, ancestors, GATHERED)


def test_an_estimator_of_what_is_not_gathered_is_refused():
    with pytest.raises(ValueError, match=r"computed from \['value'\].*'c3'"):
        api.check("mappo", DUO)
