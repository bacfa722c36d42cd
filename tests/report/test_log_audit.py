"""The command that audits anybody's logs."""

import json

import ml_collections
import pytest

from c3jax.audit import buckets, figures
from c3jax.configs import audit as audit_page
from c3jax.report import log_audit
from tests import program
from tests.audit import logs
from tests.report.pages import Page


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("logs") / "logs.jsonl"
    buckets.write(path, logs.contexts(6))
    return path


def page(path) -> ml_collections.ConfigDict:
    found = audit_page.get_config()
    with found.unlocked():
        found.audit.buckets = str(path)
    return found


def test_the_command_audits_good_lines_and_tells_of_the_others(tmp_path, file):
    path, workdir = tmp_path / "logs.jsonl", tmp_path / "audit"
    lines = file.read_text().splitlines()
    lines[2] = '{"candidates": [{"returns": [1]}, {}]}'
    path.write_text("\n".join(lines))
    told = program.c3jax(
        "--mode=audit",
        f"--config.audit.buckets={path}",
        f"--workdir={workdir}",
        code=1,
    )
    wrong = f"{path}:3: candidates[1].returns: wanted one number or more"
    assert wrong in told.splitlines()
    assert "good ranks messages" in told
    assert figures.read(workdir).contexts == 5
    words = " ".join(Page((workdir / log_audit.PAGE).read_text()).words)
    assert "writer/5" in words and "message 0" in words  # in the explorer
    assert "5 contexts of 1 role, 20 messages" in words
    assert "1 malformed line left out" in words and wrong in words
    assert (workdir / "audit" / "fidelity.png").exists()


def test_all_lines_good_leave_nothing_to_tell(tmp_path, file):
    workdir = tmp_path / "audit"
    found, wrong = log_audit.audit(page(file), workdir)
    assert (found.contexts, wrong) == (6, [])
    assert figures.read(workdir) == found
    log_audit.claim(workdir, page(file))  # The same file may be audited there again.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no such file"),
        ("", "no line of it is a context.\nIt is empty"),
        (
            "{}\n3\n",
            r"logs.jsonl:1: candidates: wanted .*\n.*logs.jsonl:2: the line: wanted",
        ),
    ],
)
def test_a_file_without_a_context_is_refused(tmp_path, text, message):
    path = tmp_path / "logs.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        log_audit.audit(page(path), tmp_path / "audit")
    assert not (tmp_path / "audit").exists()


def test_what_only_a_run_is_asked_is_refused(tmp_path, file):
    asked = page(file)
    asked.audit.unlock()
    asked.audit.questions = 7
    with pytest.raises(ValueError, match="audit.questions=7 is of the audit of a run"):
        log_audit.audit(asked, tmp_path / "audit")


def test_a_directory_is_no_file_of_logs(tmp_path):
    with pytest.raises(ValueError, match="wanted one with a JSON object a line"):
        log_audit.audit(page(tmp_path), tmp_path / "audit")


def test_what_another_experiment_wrote_stays(tmp_path, file):
    path, workdir = tmp_path / "other.jsonl", tmp_path / "audit"
    workdir.mkdir()
    log_audit.claim(workdir, page(path))
    with pytest.raises(ValueError, match="holds another experiment, of .*other.jsonl"):
        log_audit.audit(page(file), workdir)
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"config": {"name": "math"}}))
    with pytest.raises(ValueError, match="holds another experiment, of math"):
        log_audit.audit(page(file), run)
    (run / "config.json").rename(run / "audit.html")
    with pytest.raises(ValueError, match="is not empty: audit.html"):
        log_audit.audit(page(file), run)
