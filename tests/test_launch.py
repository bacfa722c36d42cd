"""The launch scripts: what they would type, and what they do with small programs.

gcloud is stood in for by a script that notes how it was called. Tests of GKE and SLURM
are in `launch_clusters`.
"""

import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parent.parent
LAUNCH = ROOT / "launch"
SCRIPTS = sorted(p.name for p in LAUNCH.glob("*.sh") if p.name != "common.sh")
AWKWARD = ["--config.a=two words", '--config.b=it\'s "$HOME" & ${NAME} \\ *', "--x="]
SLICE = ["--name=c3", "--zone=us-east5-a", "--accelerator=v5p-64"]
TRAIN = ["--", "--config=configs/math.py"]
SHARED = [*TRAIN, "--workdir=/mnt/c3jax/math"]


def start(script, *arguments, **options):
    return subprocess.Popen(
        [LAUNCH / script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def launch(script, *arguments, code=0, **options):
    """Runs a script to its end; what it printed, and what it complained of."""
    with start(script, *arguments, **options) as run:
        output, complaint = run.communicate(timeout=30)
    assert run.returncode == code, output + complaint
    return output, complaint


def dry(script, *arguments):
    """The commands a script would run, each as the words a shell would read."""
    output, _ = launch(script, arguments[0], "--dry-run", *arguments[1:])
    return [shlex.split(line) for line in output.splitlines()]


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
        ("tpu_pod.sh", ["--name=c3"], "say what to do: create install"),
        ("tpu_pod.sh", ["statsu"], "did you mean status?"),
        ("tpu_pod.sh", ["status"], "add --name=NAME"),
        ("tpu_pod.sh", ["status", "--name=c3"], "add --zone=ZONE"),
        ("tpu_pod.sh", ["create", *SLICE[:2]], "add --accelerator=TYPE"),
        ("tpu_pod.sh", ["create", *SLICE[:2], "--accelerator=v9-8"], "add --runtime"),
        ("tpu_pod.sh", ["start", *SLICE], "add, after --, what c3jax.main is to do"),
        ("worker.sh", ["start", *TRAIN], "add --state=DIR"),
    ],
)
def test_what_is_missing_or_wrong_is_named(script, arguments, complaint):
    assert complaint in launch(script, *arguments, code=2)[1]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (TRAIN, "--workdir=runs/NAME is local to one of the machines of v5p-64"),
        ([*TRAIN, "--workdir=/data/x"], "--workdir=/data/x is local to one of the"),
        ([*TRAIN, "-workdir", "/data/x"], "--workdir=/data/x is local to one of the"),
        (SHARED, "nothing is mounted at /mnt/c3jax; add --nfs"),
        ([*TRAIN, "--workdir=gs://bucket/x"], "not a directory: say --bucket=BUCKET"),
    ],
)
def test_a_slice_of_many_machines_needs_a_workdir_that_all_see(arguments, complaint):
    arguments = ["watch", *SLICE, "--dry-run", *arguments]
    assert complaint in launch("tpu_pod.sh", *arguments, code=2)[1]


def test_a_slice_of_one_machine_may_keep_its_workdir_and_is_told_the_risk():
    single = [*SLICE[:2], "--accelerator=v5litepod-8", "--dry-run", *TRAIN]
    output, note = launch("tpu_pod.sh", "start", *single)
    assert "launch/worker.sh start" in output
    assert "lost when it is deleted or preempted" in note


def test_tpu_pod_makes_installs_and_starts_a_slice():
    flags = [
        "--project=p",
        "--spot",
        "--bucket=gs://b",
        "--create-flag=--network=my net",
    ]
    asked, made, _, packed, sent, set_up, started, looked = dry(
        "tpu_pod.sh", "watch", *SLICE, *flags, *SHARED, *AWKWARD
    )
    queue = ["gcloud", "compute", "tpus", "queued-resources"]
    where = ["--zone=us-east5-a", "--project=p"]
    assert asked == [*queue, "describe", "c3", *where, "--format=value(state.state)"]
    assert made == [
        *(*queue, "create", "c3", *where, "--node-id=c3", "--accelerator-type=v5p-64"),
        *("--runtime-version=v2-alpha-tpuv5", "--spot", "--network=my net"),
    ]
    assert packed[:2] == ["git", "-C"]
    assert packed[-1] == "HEAD"
    machine = ["gcloud", "compute", "tpus", "tpu-vm"]
    assert sent[:5] == [*machine, "scp"]
    assert sent[6:] == ["c3:c3jax.tar.gz", *where, "--worker=all"]
    for command in (set_up, started, looked):
        assert command[:-1] == [*machine, "ssh", "c3", *where, "--worker=all"]
    assert set_up[-1].endswith("tpu_setup.sh --bucket=b --mount=/mnt/c3jax")
    # Read once more by the shell of the worker.
    remote = shlex.split(started[-1].removeprefix("--command="))
    program = ["../c3jax-venv/bin/python", "-m", "c3jax.main"]
    assert remote == [
        *("cd", "c3jax", "&&", "launch/worker.sh", "start", "--state=../c3jax-state"),
        *("--", *program, *SHARED[1:], *AWKWARD),
    ]
    assert "worker.sh status" in looked[-1]


def test_tpu_pod_looks_after_a_slice():
    common = SLICE[:2]
    [followed] = dry("tpu_pod.sh", "logs", *common, "--worker=3")
    assert followed[-2:] == ["--worker=3", "--command=tail -n 100 -F c3jax-state/log"]
    [stopped] = dry("tpu_pod.sh", "stop", *common, "--grace=60")
    assert stopped[-1].endswith("worker.sh stop --state=c3jax-state --grace=60")
    [deleted] = dry("tpu_pod.sh", "delete", *common)
    assert deleted[4:] == ["delete", "c3", "--zone=us-east5-a", "--force", "--quiet"]


def test_tpu_setup_mounts_what_is_shared():
    commands = dry("tpu_setup.sh", "--bucket=b")
    assert commands[-1][-2:] == ["b", "/mnt/c3jax"]
    assert any("requirements-tpu.txt" in command for command in commands)
    commands = dry("tpu_setup.sh", "--nfs=host:/share", "--mount=/data")
    assert ["sudo", "mount", "-t", "nfs", "host:/share", "/data"] in commands


def stand_in(directory, name, script):
    """A program of that name that notes its arguments in a line of `calls`."""
    path = directory / name
    note = f'#!/bin/bash\ncd {directory}\necho "{name} $*" >>calls\n'
    path.write_text(note + script)
    path.chmod(0o755)


def beside(directory):
    return {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}


def test_watch_replaces_a_slice_and_starts_dead_workers_again(tmp_path):
    # Each look shows the next line of these; NOT_FOUND once, when there is no slice.
    states = ["-", "PROVISIONING", "ACTIVE", "ACTIVE", "ACTIVE", "SUSPENDED"]
    states += ["SUSPENDED", "ACTIVE", "ACTIVE"]
    (tmp_path / "states").write_text("\n".join(states) + "\n")
    works = ["worker w-dead-0 running", "worker w-0 exited 1"]
    works += ["worker w-none-0 exited 0"]
    (tmp_path / "works").write_text("\n".join(works) + "\n")
    stand_in(
        tmp_path,
        "gcloud",
        """
        next() { head -n 1 $1; sed -i 1d $1; }
        case "$*" in
            *describe*)
                state=$(next states)
                [[ $state != - ]] || { echo "ERROR: NOT_FOUND: c3" >&2; exit 1; }
                echo $state ;;
            *"worker.sh status"*) next works; echo "worker w-1 exited 0" ;;
        esac""",
    )
    flags = [*SLICE, "--bucket=b", "--every=0", *SHARED]
    _, said = launch("tpu_pod.sh", "watch", *flags, env=beside(tmp_path))
    calls = (tmp_path / "calls").read_text()
    steps = re.findall(r"-resources (create|delete)|(scp)|worker.sh (\w+)", calls)
    made = ["create", "scp", "start"]
    died = ["status", "stop", "start"]
    assert ["".join(step) for step in steps] == [
        *(*made, "status", *died, "delete", *made, "status")
    ]
    assert "restart 1 of 20" in said
    assert said.endswith("finished\n")


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


def test_a_worker_that_was_stopped_does_not_look_finished(tmp_path):
    state = f"--state={tmp_path}/state"
    body = 'trap "echo saved; exit 0" TERM; echo up; while :; do sleep 0.02; done'
    assert launch("worker.sh", "status", state)[0].endswith("none\n")
    output, _ = launch("worker.sh", "start", state, "--", "bash", "-c", body)
    assert output.endswith("running\n")
    again = ["start", state, "--", "true"]
    assert "already running" in launch("worker.sh", *again, code=2)[1]
    while "up" not in (tmp_path / "state/log").read_text().splitlines():
        time.sleep(0.02)
    launch("worker.sh", "stop", state)
    assert launch("worker.sh", "status", state)[0].endswith("exited 143\n")
    assert (tmp_path / "state/log").read_text().endswith("up\nsaved\n")
    launch("worker.sh", "run", "--", "bash", "-c", "exit 5", code=5)


def test_a_worker_in_a_container_passes_the_signal_on(tmp_path):
    body = f'trap "exit 0" TERM; touch {tmp_path}/up; while :; do sleep 0.02; done'
    with start("worker.sh", "run", "--forward", "--", "bash", "-c", body) as run:
        while not (tmp_path / "up").exists():
            time.sleep(0.02)
        run.send_signal(signal.SIGTERM)
        assert run.wait(timeout=20) == 143
