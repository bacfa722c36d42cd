"""The README and docs/: short, whole, and every example in them runs."""

import ast
import functools
import importlib.util
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from c3jax.audit import buckets
from c3jax.configs import math
from c3jax.credit import api
from c3jax.data import demonstrations
from c3jax.train import run_dir
from tests import program, support
from tests.conftest import QUICK

PAGES = {
    str(path.relative_to(support.ROOT)): path.read_text()
    for path in sorted(
        [support.ROOT / "README.md", *(support.ROOT / "docs").glob("*.md")]
    )
}
EXTENDING = "docs/extending.md"


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in some language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], re.M | re.S)


def commands(page: str) -> list[str]:
    """What a page has a reader type: indented lines, and commands in the text."""
    prose = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.M | re.S)
    lines = re.findall(r"^    (?! )((?:.*\\\n)*.*)$", prose, re.M)
    lines = (re.sub(r"\\\n\s*", " ", line) for line in lines)
    spans = (span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose))
    return [*lines, *(each for each in spans if re.match(r"c3jax --|python -m ", each))]


def flags_of(command: str) -> tuple[str, ...]:
    """The flags that a command gives to c3jax."""
    words = shlex.split(command, comments=True)
    for name in ("c3jax.main", "c3jax", "--"):
        if name in words:
            return tuple(words[words.index(name) + 1 :])
    return ()


def slug(heading: str) -> str:
    """The anchor that a forge gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def refused(directory: pathlib.Path, given: list) -> str:
    """Which of some command lines the program refuses, and why; "" for none."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.pages"],
        input=json.dumps(given),
        text=True,
        capture_output=True,
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(support.ROOT)},
    )
    failed = done.returncode or "refused:" in done.stdout
    return done.stdout + done.stderr if failed else ""


def own_page(directory: pathlib.Path) -> pathlib.Path:
    """The page that docs/extending.md makes of an estimator."""
    path = directory / "own.py"
    path.write_text(blocks(EXTENDING, "python")[0])
    return path


def test_the_readme_is_read_in_minutes():
    assert len(PAGES["README.md"].splitlines()) <= 200


@pytest.mark.parametrize("page", PAGES)
def test_no_line_of_prose_is_wider_than_120(page):
    kept = [
        x for x in PAGES[page].splitlines() if not x.startswith(("    ", "|", "!["))
    ]
    assert not [line for line in kept if len(line) > 120]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    place = (support.ROOT / page).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = place / path if path else support.ROOT / page
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text(), re.M)
            assert anchor in map(slug, headings), target


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_are_there(page):
    places = "|".join(path.name for path in support.ROOT.iterdir() if path.is_dir())
    for path in re.findall(rf"`((?:{places})/[\w/]+\.\w+)[`:]", PAGES[page]):
        assert (support.ROOT / path).exists(), path


def test_every_page_is_in_the_readme():
    for page in {*PAGES} - {"README.md"}:
        assert f"]({page})" in PAGES["README.md"], page


@pytest.mark.parametrize("page", ["README.md", "docs/methods.md"])
def test_tables_of_methods_name_every_estimator_and_no_other(page):
    rows = re.findall(r"^\| (`.+?) \|.*\|$", PAGES[page].split("ethods\n")[1], re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named & {*api.ESTIMATORS} == {*api.ESTIMATORS}
    first = [name for row in rows for name in re.findall(r"^`(\w+)`", row)]
    known = {*api.ESTIMATORS, *math.get_config().train, "reward"}
    assert {*first} <= known


@pytest.mark.parametrize("page", PAGES)
def test_python_in_pages_is_python(page):
    for text in blocks(page, "python"):
        ast.parse(text)


def test_examples_run(tmp_path):
    for text in blocks(EXTENDING, "json"):
        lines = text.splitlines()
        if len(lines) > 2:
            (tmp_path / "questions.jsonl").write_text(text)
        else:
            path = tmp_path / "demonstrations.jsonl"
            path.write_text(" ".join(lines))
            assert demonstrations.read(path, ["reasoner", "actor"])
    given = []
    for page in ("README.md", EXTENDING):
        examples = blocks(page, "python")
        assert "def get_config" in examples[-1]
        for number, text in enumerate(examples):
            if "def get_config" in text:
                # A reader has run what stands above it.
                own = tmp_path / f"{pathlib.Path(page).stem}{number}.py"
                own.write_text("\n\n".join(examples[: number + 1]))
                given.append([f"--config={own}"])
    assert not (wrong := refused(tmp_path, given)), wrong


def test_commands_are_read_as_they_stand(tmp_path):
    (tmp_path / "configs").symlink_to(support.ROOT / "configs")
    own_page(tmp_path)
    typed = [command for page in PAGES for command in commands(page)]
    for command in typed:
        for module in re.findall(r"python -m ([\w.]+)", command):
            assert importlib.util.find_spec(module), command
        for script in re.findall(r"^launch/\S+", command):
            assert (support.ROOT / script).exists(), command
    given = [*dict.fromkeys(flags for each in typed if (flags := flags_of(each)))]
    assert len(given) > 20
    assert not (wrong := refused(tmp_path, given)), wrong


def alone(*arguments, cwd: pathlib.Path = support.ROOT) -> str:
    """What Python prints in a fresh process with one device.

    Not forked from a process that has imported pages before a row was there.
    """
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(support.ROOT), "XLA_FLAGS": QUICK},
    )
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_page_of_ones_own_trains_replays_and_is_audited(tmp_path):
    own, run = own_page(tmp_path), f"--workdir={tmp_path / 'run'}"
    c3jax = functools.partial(alone, "-m", "c3jax.main", run, "--cache_dir=")
    assert "\nPASS" in c3jax(f"--config={own}", *program.SMALL)
    assert run_dir.config(tmp_path / "run").credit.name == f"{own}:PART_WAY"
    sizes = "questions=4", "batch_size=4", "candidates=4", "continuations=2", "extra=2"
    found = c3jax(
        "--mode=audit",
        *(f"--config.audit.{size}" for size in sizes),
        f"--config.audit.methods=[{own}:PART_WAY,c3]",
    )
    assert "PART_WAY" in found


@pytest.mark.slow
def test_examples_that_need_a_run_run(tmp_path):
    made, _ = program.finished()
    shutil.copytree(made, tmp_path / "runs" / "math")
    there = (
        "import pathlib\nfrom c3jax.configs import math\n"
        "from c3jax.train import run_dir\n"
        "math.get_config = lambda: run_dir.config(pathlib.Path('runs/math'))\n"
    )
    script = tmp_path / "examples.py"
    script.write_text("\n".join([there, *blocks("docs/runs.md", "python")]))
    assert "pass@1" in alone(script, cwd=tmp_path)


@pytest.mark.slow
def test_examples_of_rewards_run():
    names = dict(texts=["it is \\boxed{2}"], answers=["2"])
    for text in blocks("docs/rewards.md", "python"):
        exec(text, names)


def test_an_audit_reads_the_logs_that_its_page_shows(tmp_path):
    (text,) = blocks("docs/auditing.md", "json")
    line = json.dumps(json.loads(text))
    (tmp_path / "logs.jsonl").write_text(f"{line}\n{line.replace('q17', 'q18')}\n")
    contexts, malformed = buckets.read(tmp_path / "logs.jsonl")
    assert len(contexts) == 2 and not malformed
