"""Figures of buckets by role and method, and what becomes of them on a page."""

import dataclasses
import json
import math
import re

import pytest

from c3jax import audit
from c3jax.audit import buckets, figures
from c3jax.core.stats import Interval
from c3jax.report import audit_plots, audit_section, plots, words
from tests.audit import logs
from tests.report.pages import Page


@pytest.fixture(scope="module")
def some():
    """A role with everything, and one whose contexts lack this and that."""
    bare = logs.contexts(6, "planner", (("good", 0.1),), returns=1, extra=0, seed=1)
    return logs.contexts() + bare


@pytest.fixture(scope="module")
def found(some):
    return figures.of(some)


def test_a_figure_is_that_of_the_arrays(some, found):
    (_, arrays), _ = buckets.by_role(some)
    writer, planner = found
    assert (writer.role, writer.contexts, writer.messages) == ("writer", 40, 160)
    assert [each.method for each in writer.methods] == ["good", "poor"]
    good = writer.methods[0]
    assert good.fidelity == audit.fidelity(
        arrays.credit["good"], arrays.worth, arrays.noise
    )
    assert good.variance == audit.variance(arrays.credit["good"])
    replies = arrays.symbols["replies"]
    level = writer.influence[0]
    assert level.plain == audit.influence(replies)
    assert level.corrected == audit.influence(replies, correct=True)
    assert planner.messages == 24


def test_what_cannot_be_measured_is_refused_for_its_role_and_method_alone(found):
    writer, planner = found
    [good] = planner.methods
    assert "too few contexts (0) have `extra` rewards" in good.fidelity
    assert isinstance(good.variance, Interval)
    replies, answers = planner.influence
    assert "too few contexts (0) have 2 or more `replies`" in replies.plain
    assert "no `answers` are known" in answers.corrected
    assert writer.methods[0].fidelity.spearman.mean > 0.5


def test_a_method_is_audited_where_it_credits_every_candidate():
    some = logs.contexts(12, noise=(("good", 0.1), ("seldom", 0.1)))
    for n, bucket in enumerate(some[:5]):
        first, *rest = bucket.candidates
        del first.credit["seldom"]
        if n:
            rest[0].credit.pop("seldom")
    [role] = figures.of(some)
    good, seldom = role.methods
    assert (good.contexts, seldom.contexts) == (12, 7)
    assert seldom.fidelity == figures.of(some[5:])[0].methods[1].fidelity


def test_a_method_that_credits_one_context_is_not_measured():
    some = logs.contexts(3)
    for bucket in some[1:]:
        for candidate in bucket.candidates:
            del candidate.credit["poor"]
    poor = figures.of(some)[0].methods[1]
    assert poor.fidelity == poor.variance
    assert "poor credits all candidates in too few contexts (1)" in poor.variance


def test_contexts_without_extra_samples_count_for_variance_alone():
    some = logs.contexts(12)
    some[3] = dataclasses.replace(some[3], extra=())
    good = figures.of(some)[0].methods[0]
    assert (good.contexts, good.valued) == (12, 11)
    rest = figures.of(some[:3] + some[4:])[0].methods[0]
    assert good.fidelity == rest.fidelity
    assert good.variance != rest.variance


def test_correlation_and_ceiling_rise_with_the_number_of_continuations():
    some = logs.contexts(300, noise=(("good", 0.1),), returns=16, extra=32)
    [good] = figures.of(some)[0].methods
    assert [point.continuations for point in good.curve] == [2, 4, 8, 16]
    ranks = [point.pearson.mean for point in good.curve]
    ceilings = [point.ceiling.mean for point in good.curve]
    assert ranks == sorted(ranks) and ceilings == sorted(ceilings)
    assert ranks[-1] - ranks[0] > 0.1
    assert good.curve[-1].pearson == good.fidelity.pearson
    # Credit that is nearly right is near the ceiling, however noisy the target.
    for point in good.curve:
        assert point.pearson.mean == pytest.approx(point.ceiling.mean, abs=0.07)


def test_a_curve_does_not_depend_on_the_order_of_a_log():
    some = logs.contexts(200, noise=(("good", 0.1),))
    ordered = [
        dataclasses.replace(
            bucket,
            candidates=tuple(
                dataclasses.replace(each, returns=tuple(sorted(each.returns)))
                for each in bucket.candidates
            ),
        )
        for bucket in some
    ]
    curves = [figures.of(each)[0].methods[0].curve for each in (some, ordered)]
    for one, other in zip(*curves, strict=True):
        assert one.pearson.mean == pytest.approx(other.pearson.mean, abs=0.06)


def test_figures_are_the_same_when_they_are_read_back(tmp_path, found):
    written = figures.Audit("logs.jsonl", found, {"step": 4, "spent": {}})
    figures.write(tmp_path, written)
    assert figures.read(tmp_path) == written
    page = json.loads((tmp_path / figures.FILE).read_text())
    assert (page["source"], page["contexts"]) == ("logs.jsonl", 46)
    assert page["roles"][0]["methods"][0]["fidelity"]["spearman"]["mean"] > 0.5


def test_a_reading_says_it_in_plain_words(found):
    writer, planner = map(words.reading, found)
    assert re.search(
        r"^writer: good reaches \d+% of the correlation with worth that noise allows "
        r"\(0.\d\d of 0.\d\d\), poor \d+% \(0.\d\d of 0.\d\d\); which message was "
        r"sent shows in the replies \(0.\d\d nats, 0.\d\d by chance\).$",
        writer,
    )
    assert planner == "planner: good is not measured against the worth of messages."


def test_credit_that_says_nothing_is_told_apart_from_credit_that_is_upside_down():
    rank = Interval(0.05, -0.1, 0.2)
    assert "no better than chance" in words.ranking(audit_of(rank))
    assert "the wrong way round" in words.ranking(audit_of(Interval(-0.5, -0.6, -0.4)))


def audit_of(rank):
    return audit.diagnostics.Fidelity(rank, None, rank, None, rank)


def test_a_figure_above_its_ceiling_within_the_noise_is_all_of_it():
    ceiling = Interval(0.8, 0.75, 0.85)
    assert words.share(Interval(0.4, 0.3, 0.5), ceiling) == "50%"
    assert words.share(Interval(0.9, 0.84, 0.95), ceiling) == "100%"
    assert words.share(Interval(0.9, 0.86, 0.95), ceiling) == "> 100%"
    assert words.share(Interval(0.4, 0.3, 0.5), Interval(math.nan, 0.2, 0.6)) == "–"


def test_an_audit_from_before_keeps_the_figures_that_still_hold(tmp_path, found):
    figures.write(tmp_path, figures.Audit("logs", found))
    page = json.loads((tmp_path / figures.FILE).read_text())
    for role in page["roles"]:
        for method in role["methods"]:
            del method["scaled"]
            method["curve"] = [
                {"continuations": 2, "spearman": method["variance"], "ceiling": None}
            ]
            if not isinstance(method["fidelity"], str):
                del method["fidelity"]["rank_ceiling"]
        for level in role["influence"]:
            if not isinstance(level["plain"], str):
                del level["plain"]["beyond"], level["corrected"]["beyond"]
    (tmp_path / figures.FILE).write_text(json.dumps(page))
    old = figures.read(tmp_path).roles[0].methods[0]
    new = found[0].methods[0]
    assert old.fidelity == new.fidelity._replace(ceiling=None, rank_ceiling=None)
    assert old.variance == new.variance and old.curve == ()


def test_credit_in_other_units_is_marked_where_its_size_is_shown(some):
    role, _ = figures.of(some, {"poor": "z-scored: not comparable"})
    table = audit_section.tables([role])[0]
    good, poor = table["rows"]
    assert poor[-1].endswith(" [1]") and poor[-2].endswith(" [1]")
    assert not good[-1].endswith("[1]")
    assert table["notes"] == ["[1] z-scored: not comparable"]


@pytest.mark.parametrize(
    ("interval", "wanted"),
    [
        (Interval(0.5118, 0.4947, 0.5277), "0.51 [0.49, 0.53]"),
        (Interval(0.1007, 0.0972, 0.1038), "0.101 [0.097, 0.104]"),
        (Interval(-0.001, -0.04, 0.04), "0.00 [−0.04, 0.04]"),
        (Interval(1.0, 1.0, 1.0), "1.00 [1.00, 1.00]"),
        (Interval(0.25, math.nan, math.nan), "0.25"),
        (Interval(math.nan, 0.2, 0.5), "0.20 to 0.50"),
    ],
)
def test_numbers_have_the_digits_that_their_interval_warrants(interval, wanted):
    assert words.told(interval) == wanted


def test_tables_number_the_reasons_why_a_figure_is_missing(found):
    methods, levels = audit_section.tables(found)
    assert methods["rows"][2][3] == "not measured [1]"
    assert methods["notes"] == [f"[1] not measured: {found[1].methods[0].fidelity}"]
    assert len(levels["notes"]) == 2 and len(levels["rows"]) == 4


def test_a_page_has_every_figure_and_trusts_no_name(tmp_path):
    name = 'a <b> $x^ "y"\x1b[31m'
    some = logs.contexts(6, role=name, noise=((f"{name} method", 0.1),))
    roles = figures.of(some)
    place = tmp_path / "audit"
    found = audit_section.section(roles, place)
    assert {path.name for path in place.iterdir()} == {
        f"{name}.{kind}" for name in audit_plots.PICTURES for kind in ("png", "svg")
    }
    page = plots.template("audit.html").render(
        source="logs",
        contexts=6,
        messages=24,
        roles=roles,
        wrong=["logs:3: <i>"],
        trees=[],
        figures_found=found,
    )
    assert "<b> $" not in page and "<i>" not in page and "\x1b" not in page
    shown = " ".join(Page(page).words)
    assert 'a <b> $x^ "y"' in shown and "Whether messages show" in shown
    assert all(at.startswith(("#", "data:")) for at in Page(page).addresses)
    assert not re.search(r"@import|url\((?!#)", page)


def test_a_picture_with_nothing_in_it_is_left_out():
    some = logs.contexts(4, noise=(), returns=1)
    found = audit_section.section(figures.of(some))
    assert found["pictures"] == []
    assert found["readings"] == ["writer: nothing could be measured."]
