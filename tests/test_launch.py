"""The launch scripts: what they would type, and what they do with small programs.

Those of tpu_pod.sh, worker.sh, gke.sh and slurm_gpu.sh are in `launch/` beside this.
"""

import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from tests.launch import support

ROOT, LAUNCH = support.ROOT, support.LAUNCH
# The others are sourced.
SCRIPTS = sorted(p.name for p in LAUNCH.glob("*.sh") if os.access(p, os.X_OK))
AWKWARD, TRAIN, SHARED = support.AWKWARD, support.TRAIN, support.SHARED
start, launch, dry = support.start, support.launch, support.dry
stand_in, beside = support.stand_in, support.beside


@pytest.mark.root
def test_shellcheck_finds_nothing():
    subprocess.run(["shellcheck", "-x", *SCRIPTS], cwd=LAUNCH, check=True)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_names_every_flag(script):
    output, _ = launch(script, "--help")
    declared = (LAUNCH / script).read_text().split("parse ")[0]
    for name in declared.split("[")[1:]:
        name = name.split("]")[0]
        if declared.count(f"[{name}]="):
            assert f"--{name}" in output
    assert "--dry-run" in output


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_unknown_flag_is_refused_with_the_nearest(script):
    _, complaint = launch(script, "--dri-run", code=2)
    assert "unknown flag --dri-run; did you mean --dry-run?" in complaint


@pytest.mark.parametrize(
    ("script", "arguments", "complaint"),
    [
        ("local_multiprocess.sh", [], "add --processes=N"),
        ("local_multiprocess.sh", ["--processes"], "--processes=VALUE"),
        ("local_multiprocess.sh", ["--dry-run=yes"], "--dry-run takes no value"),
        (
            "local_multiprocess.sh",
            ["--processes=two"],
            "--processes=two is not a whole",
        ),
        ("local_multiprocess.sh", ["--processes=1", "--devices=tpu"], "not cpu or gpu"),
        ("local_multiprocess.sh", ["--processes=1", "--port=70000"], "not a port"),
    ],
)
def test_what_is_missing_or_wrong_is_named(script, arguments, complaint):
    assert complaint in launch(script, *arguments, code=2)[1]


def test_local_processes_are_told_who_they_are():
    flags = ["--processes=2", "--port=1234", "--logs=my logs"]
    commands = dry("local_multiprocess.sh", *flags, *TRAIN, *AWKWARD)
    for index, command in enumerate(commands):
        assert command == [
            *("env", "JAX_PLATFORMS=cpu", "JAX_CPU_COLLECTIVES_IMPLEMENTATION=gloo"),
            *("bash", "-c", 'exec python -m c3jax.main "$@"', "c3jax"),
            *("--coordinator=127.0.0.1:1234", "--processes=2", f"--process={index}"),
            *(*TRAIN[1:], *AWKWARD, f">>my logs/process-{index}.log", "2>&1", "&"),
        ]
    commands = dry("local_multiprocess.sh", *flags, "--devices=gpu", *TRAIN)
    assert [c[1] for c in commands] == [
        "CUDA_VISIBLE_DEVICES=0",
        "CUDA_VISIBLE_DEVICES=1",
    ]


def local(tmp_path, body, *flags, **options):
    """Runs three processes of a small program; I is the number of the process."""
    program = f"""bash -c 'cd {tmp_path}; I=${{3#--process=}}; {body}' small"""
    flags = ["--processes=3", f"--logs={tmp_path}/logs", *flags]
    return launch("local_multiprocess.sh", f"--program={program}", *flags, **options)


def log(tmp_path, index):
    return (tmp_path / "logs" / f"process-{index}.log").read_text()


def test_local_processes_run_with_arguments_as_they_were_given(tmp_path):
    program = f"{shlex.quote(sys.executable)} -Sc 'import sys; print(sys.argv[3:])'"
    flags = ["--processes=2", f"--logs={tmp_path}/logs", f"--program={program}"]
    launch("local_multiprocess.sh", *flags, "--", *AWKWARD)
    for index in range(2):
        assert log(tmp_path, index) == f"{[f'--process={index}', *AWKWARD]}\n"


def test_the_others_are_stopped_when_one_process_fails(tmp_path):
    begun = time.monotonic()
    body = """
        [[ $I != 2 ]] || trap "" TERM
        echo $$ && touch up$I
        [[ $I == 1 ]] || exec sleep 60
        while [[ ! -e up0 || ! -e up2 ]]; do sleep 0.02; done
        exit 7"""
    _, said = local(tmp_path, body, "--grace=0", code=7)
    assert time.monotonic() - begun < 10
    assert f"process 1 exited with 7: {tmp_path}/logs/process-1.log" in said
    for index in (0, 2):
        with pytest.raises(ProcessLookupError):
            os.killpg(int(log(tmp_path, index)), 0)


def test_all_are_started_again_and_no_more_than_that(tmp_path):
    body = "echo here; [[ $I != 2 ]] || { echo >>n; [[ $(wc -l <n) -gt 2 ]]; }"
    local(tmp_path, body, "--restarts=1", code=1)
    (tmp_path / "n").unlink()
    _, said = local(tmp_path, body, "--restarts=5")
    assert "restart 2 of 5" in said
    assert "restart 3 of 5" not in said
    assert log(tmp_path, 2).count("here") == 5


def test_a_request_to_stop_is_passed_on(tmp_path):
    body = 'trap "echo saved; exit 0" TERM; touch up$I; while :; do sleep 0.02; done'
    program = f"bash -c 'cd {tmp_path}; I=${{3#--process=}}; {body}' small"
    flags = ["--processes=2", f"--logs={tmp_path}/logs", "--restarts=3"]
    with start("local_multiprocess.sh", f"--program={program}", *flags) as run:
        while len(list(tmp_path.glob("up*"))) < 2:
            time.sleep(0.02)
        run.send_signal(signal.SIGTERM)
        assert run.wait(timeout=20) == 143
    assert [log(tmp_path, index) for index in range(2)] == ["saved\n", "saved\n"]
