"""What a comparison says: tables where runs had spent the same, curves, a page."""

import re

import numpy as np
import pytest

from c3jax.compare import budget_tables, grid_page
from tests.audit import made_up
from tests.report.pages import Page


def tables(records, **asked):
    asked = asked or {"evaluator_calls": 60}
    return budget_tables.tables(asked, made_up.LABELS, "magrpo", records.values())


def test_a_run_is_read_at_the_evaluation_it_made_where_it_crossed_the_budget():
    # Eight calls a step: 60 are held after 8 steps, not after 7; or after 4 of 16.
    for cost, step in ((8, 8), (16, 4)):
        run = made_up.record("c3", 0, cost=cost)
        assert budget_tables.read(run, "evaluator_calls")["step"] == step
    run = made_up.record("c3", 0, crossed=False)
    assert budget_tables.read(run, "evaluator_calls") is None


def test_a_table_holds_the_means_over_seeds_and_what_was_spent():
    records = made_up.records()
    [table] = tables(records)
    assert [row.label for row in table.rows] == list(made_up.LABELS)
    c3, ccpo, magrpo = table.rows
    assert (c3.steps, ccpo.steps) == (8, 4)
    assert c3.spent == {
        "evaluator_calls": 64,
        "generated_tokens": pytest.approx(803),
        "seconds": 16.0,
    }
    read = [budget_tables.read(records[f"c3-{s}"], "evaluator_calls") for s in range(3)]
    assert c3.sampled.mean == pytest.approx(np.mean([x["pass_at_1"] for x in read]))
    assert magrpo.difference is None and np.isnan(magrpo.p)
    assert c3.difference.mean == pytest.approx(c3.sampled.mean - magrpo.sampled.mean)
    # The larger of two probabilities is not adjusted below the smaller.
    small, large = sorted([c3, ccpo], key=lambda row: row.p)
    assert small.holm == pytest.approx(2 * small.p)
    assert large.holm == pytest.approx(max(2 * small.p, large.p))


def test_differences_pair_the_seeds_that_both_have():
    records = made_up.records()
    del records["magrpo-1"]
    [table] = tables(records)
    at = {
        name: budget_tables.read(run, "evaluator_calls")["pass_at_1"]
        for name, run in records.items()
    }
    wanted = np.mean([at[f"c3-{seed}"] - at[f"magrpo-{seed}"] for seed in (0, 2)])
    assert table.rows[0].difference.mean == pytest.approx(wanted)
    assert table.rows[0].seeds == (0, 1, 2)


def test_runs_that_did_not_cross_a_budget_are_named_and_left_out():
    records = made_up.records()
    records["c3-1"] = made_up.record("c3", 1, crossed=False)
    [table] = tables(records)
    assert table.lacking == ("c3-1",)
    assert table.rows[0].seeds == (0, 2)
    words = grid_page.told([table], records)
    assert "At 60 evaluator calls: c3-1 ended before, at the limit" in words


def test_runs_that_end_at_a_budget_have_test_accuracies_beside_the_others():
    records = made_up.records()
    [table] = tables(records)
    assert table.rows[0].test is None
    without = len(grid_page.table_cells(table)[0])
    for record in records.values():
        step = record["budgets"]["evaluator_calls"]["step"]
        tested = {"step": step, "pass_at_1": 0.5 + record["seed"] / 10}
        record |= {"split": "validation", "questions": 99, "test": tested}
    [table] = tables(records)
    assert [row.test.mean for row in table.rows] == pytest.approx([0.6] * 3)
    assert grid_page.table_cells(table)[0][7].startswith("60.0 ± ")
    assert len(grid_page.table_cells(table)[0]) == without + 1
    assert "validation questions" in grid_page.latex("x", [table], "validation")
    # A run that went on has no test accuracy here.
    records["c3-1"]["test"]["step"] += 1
    [table] = tables(records)
    assert table.rows[0].test is None and grid_page.table_cells(table)[0][7] == "–"


def test_without_the_reference_there_are_means_and_no_differences():
    records = {"c3-0": made_up.record("c3", 0)}
    [table] = tables(records)
    [row] = table.rows
    assert row.difference is None and np.isnan([row.p, row.holm]).all()
    assert np.isnan(row.sampled.low)
    _, _, sampled, *rest = grid_page.table_cells(table)[0]
    assert re.fullmatch(r"\d\d\.\d", sampled)
    assert rest[:3] == ["–"] * 3


def test_a_curve_is_the_mean_of_lines_and_ends_with_the_first_run():
    one = [{"x": 0, "y": 0.0}, {"x": 4, "y": 0.4}]
    two = [{"x": 0, "y": 0.2}, {"x": 2, "y": 0.4}, {"x": 6, "y": 0.8}]
    found = budget_tables.curve([one, two], "x", "y")
    np.testing.assert_allclose(found.x, [0, 2, 4])
    np.testing.assert_allclose(found.mean, [0.1, 0.3, 0.5])
    assert (found.low < found.mean).all() and (found.mean < found.high).all()
    alone = budget_tables.curve([one], "x", "y")
    np.testing.assert_allclose(alone.mean, [0.0, 0.4])
    assert np.isnan(alone.low).all()


def test_the_page_is_whole_says_everything_and_needs_nothing_else(tmp_path):
    records = made_up.records()
    del records["ccpo-2"]
    records["c3-0"]["warm_start_nll"] = 1.5
    [table] = grid_page.write(tmp_path, made_up.config(), records)
    text = (tmp_path / grid_page.PAGE).read_text()
    page = Page(text)
    words = " ".join(page.words)
    assert "At 60 evaluator calls" in words
    assert "1 not: ccpo-2" in words
    assert "They start from 2 policies" in words
    c3 = table.rows[0]
    half = 100 * (c3.sampled.high - c3.sampled.mean)
    assert f"{100 * c3.sampled.mean:.1f} ± {half:.1f}" in page.words
    assert all(at.startswith(("#", "data:")) for at in page.addresses), page.addresses
    assert not re.search(r"<script|@import|url\((?!#)", text)
    assert text.count("<svg") == 6
    # Pictures follow the reader's light: none of their colours is fixed.
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r'style="[^"]*#[0-9a-f]{6}', text)
    kinds = {path.suffix for path in (tmp_path / grid_page.PICTURES).iterdir()}
    assert kinds == {".png", ".svg"}


def test_equal_runs_make_an_equal_page(tmp_path):
    texts = []
    for name in "ab":
        (tmp_path / name).mkdir()
        grid_page.write(tmp_path / name, made_up.config(), made_up.records())
        texts.append((tmp_path / name / grid_page.PAGE).read_text())
    assert texts[0] == texts[1]


def test_the_latex_table_is_one_that_compiles():
    text = grid_page.latex("made_up", tables(made_up.records()))
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
    [columns] = re.findall(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert {line.count("&") for line in body} == {len(columns) - 1}
    assert all(line.endswith(r" \\") for line in body)
    assert text.count("{") == text.count("}")
    assert text.count("\\begin") == text.count("\\end") == 2
    # What LaTeX would read as something else, or pdflatex not at all.
    plain = re.sub(r"\\[%_]|\$[^$]*\$|\\label\{[^}]*\}|^%.*", "", text, flags=re.M)
    assert not set("%_#^~<>") & set(plain), plain
    assert text.isascii()
