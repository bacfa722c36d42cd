"""The audit of a run: stopped, gone on with, and in its report; and its certificate."""

import json
import shutil

import jax
import pytest

from c3jax.audit import buckets, certificate, figures
from c3jax.configs import audit as audit_page
from c3jax.core import host_memory
from c3jax.report import run_audit
from tests import program, support

ASKED = dict(
    methods="c3",
    questions=4,
    batch_size=2,
    candidates=4,
    continuations=2,
    extra=3,
    fit=1,
)
FLAGS = [f"--config.audit.{name}={value}" for name, value in ASKED.items()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small run, and what it printed."""
    made, output = program.finished()
    path = tmp_path_factory.mktemp("runs") / "audited"
    return shutil.copytree(made, path), output


def test_a_finished_run_is_replayed_by_a_fresh_process(trained):
    path, output = trained
    assert "PASS: 24 messages replayed from disk" in output
    found = certificate.certified(path)
    assert (found.step, found.nodes, found.failures) == (4, 24, [])
    assert "24 of 24 messages" in (path / "report.html").read_text()


def test_an_audit_goes_on_where_it_was_stopped_and_the_report_shows_it(trained):
    path, _ = trained
    fields = support.changed(
        audit_page.get_config(), **{f"audit__{k}": v for k, v in ASKED.items()}
    )

    def stop():  # After the last part.
        return len([*(path / "audit").glob("parts-*/*.json")]) == 4

    assert run_audit.audit(fields.audit, path, stop, jax.devices()[:1]) is None
    assert not (path / "audit.json").exists()
    [parts] = (path / "audit").glob("parts-*")
    kept = [
        line
        for part in sorted(parts.iterdir())
        for line in json.loads(part.read_text())["buckets"]
    ]
    output = program.c3jax("--mode=audit", f"--workdir={path}", "--cache_dir=", *FLAGS)
    assert "Credit, method by method" in output and "actor" in output
    assert not parts.exists()
    found, wrong = buckets.read(path / run_audit.BUCKETS)
    assert found == [buckets.parse(line) for line in kept] and not wrong
    audited = figures.read(path)
    assert [role.role for role in audited.roles] == ["reasoner", "actor"]
    about = run_audit.about(path)
    assert about.step == 4 and about.plan["candidates"] == 4
    assert [(each.role, each.how) for each in about.role_ablations] == [
        ("reasoner", "empty"),
        ("reasoner", "removed"),
    ]
    assert {*about.spent} == {"buckets", "c3", "riding"}
    page = (path / "report.html").read_text()
    assert "How good is the credit?" in page and "The team without a role" in page


def test_what_an_audit_from_before_left_beside_its_figures_is_read(tmp_path):
    kept = {"step": 4, "plan": {}, "spent": {}, "riding": [], "refused": {"a": "b"}}
    figures.write(tmp_path, figures.Audit("step 4", (), kept))
    new = run_audit.about(tmp_path)
    figures.write(tmp_path, figures.Audit("step 4", ()))
    assert run_audit.about(tmp_path) is None
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "about.json").write_text(json.dumps(kept))
    assert run_audit.about(tmp_path) == new
    assert (new.step, new.refused) == (4, {"a": "b"})


def test_an_audit_that_cannot_fit_is_refused_before_it_reads_the_policy(
    trained, monkeypatch
):
    path, _ = trained
    monkeypatch.setattr(host_memory, "available", lambda: 0)
    monkeypatch.setattr(host_memory, "resident", lambda: 0)
    fields = support.changed(
        audit_page.get_config(), **{f"audit__{k}": v for k, v in ASKED.items()}
    )
    with pytest.raises(ValueError, match="trees around them .*But this machine has 0"):
        run_audit.audit(fields.audit, path, devices=jax.devices()[:1])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "say what to audit: --workdir=DIR of a run, or"),
        (["--workdir=there/is/none"], "there/is/none"),
        (["--config=configs/math.py"], "--config is not for --mode=audit"),
    ],
)
def test_what_cannot_be_audited(flags, message):
    assert message in program.c3jax("--mode=audit", *flags, code=1)
