"""The launch scripts: what they would type, and what they do with small programs.

srun and its like are stood in for by scripts that note how they were called.
launch/ beside this has the tests of tpu_pod.sh and worker.sh.
"""

import json
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
GKE = [
    *("--name=c3", "--image=registry/c3jax", "--accelerator=tpu-v5p-slice"),
    *("--topology=2x4x4", "--claim=shared"),
]


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
        ("slurm_gpu.sh", ["submit", *TRAIN], "add --time=TIME"),
        ("slurm_gpu.sh", ["submit", "--time=1:00:00"], "add, after --, what"),
        ("gke.sh", ["start", "--name=c3"], "add --image=IMAGE"),
        ("gke.sh", ["start", *GKE[:4], *SHARED], "add --claim=CLAIM"),
        ("gke.sh", ["start", *GKE, "--chips=5", *SHARED], "--chips=5 does not divide"),
        ("gke.sh", ["start", *GKE, *TRAIN], "--workdir=runs/NAME is lost"),
    ],
)
def test_what_is_missing_or_wrong_is_named(script, arguments, complaint):
    assert complaint in launch(script, *arguments, code=2)[1]


def test_slurm_submits_one_process_a_node():
    made, submitted = dry(
        *("slurm_gpu.sh", "submit", "--nodes=2", "--time=1:00:00", "--account=me"),
        *("--sbatch-flag=--qos=high", *TRAIN, *AWKWARD),
    )
    assert made == ["mkdir", "-p", "runs/logs"]
    assert submitted[0] == "sbatch"
    assert {
        *("--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=8", "--requeue"),
        *("--signal=B:USR1@300", "--account=me", "--qos=high", f"--chdir={ROOT}"),
    } <= set(submitted)
    job = shlex.split(submitted[-1].removeprefix("--wrap="))
    assert job[:3] == ["exec", "launch/slurm_gpu.sh", "job"]
    assert job[job.index("--") :] == [*TRAIN, *AWKWARD]
    exported, stepped = dry("slurm_gpu.sh", *job[2:])
    assert exported == ["export", "JAX_LOCAL_DEVICE_IDS=0,1,2,3,4,5,6,7"]
    program = ["launch/worker.sh", "run", "--", "python", "-m", "c3jax.main"]
    assert stepped[0] == "srun"
    assert stepped[-len([*program, *TRAIN[1:], *AWKWARD]) :] == [
        *program,
        *TRAIN[1:],
        *AWKWARD,
    ]


def test_slurm_refuses_a_workdir_of_one_node():
    flags = ["submit", "--nodes=2", "--time=1:00:00", *TRAIN, "--workdir=/tmp/x"]
    assert "local to one node" in launch("slurm_gpu.sh", *flags, code=2)[1]


@pytest.mark.parametrize(
    ("srun", "state", "code", "tools"),
    [
        ("exit 0", "RUNNING", 0, ["srun"]),
        ("exit 7", "RUNNING", 7, ["srun", "srun"]),
        ("exit 143", "RUNNING", 143, ["srun", "squeue", "scontrol"]),
        ("exit 143", "COMPLETING", 143, ["srun", "squeue"]),
        # The end of the time: this script is told, and tells the processes.
        (
            "kill -USR1 $PPID; while [[ ! -e told ]]; do sleep 0.01; done; exit 143",
            "RUNNING",
            143,
            ["srun", "scancel", "squeue", "scontrol"],
        ),
    ],
)
def test_a_slurm_job_starts_again_or_goes_back_to_the_queue(
    tmp_path, srun, state, code, tools
):
    # srun is a child of a child of the script.
    srun = srun.replace("$PPID", "$(ps -o ppid= -p $PPID)")
    stand_in(tmp_path, "srun", srun)
    stand_in(tmp_path, "squeue", f"echo {state}")
    stand_in(tmp_path, "scancel", "touch told")
    stand_in(tmp_path, "scontrol", "")
    env = {**beside(tmp_path), "SLURM_JOB_ID": "5"}
    launch("slurm_gpu.sh", "job", "--restarts=1", *TRAIN, code=code, env=env)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == tools


def test_gke_fills_in_every_name_of_the_manifest():
    output, _ = launch("gke.sh", "start", "--dry-run", *GKE, *SHARED, *AWKWARD)
    first, *manifest, last = output.splitlines()
    assert (first, last) == ("kubectl apply --filename=- <<'EOF'", "EOF")
    fields = dict(line.strip(" -").split(": ", 1) for line in manifest if ": " in line)
    command = json.loads(fields.pop("command"))
    program = [
        "launch/worker.sh",
        "run",
        "--forward",
        "--",
        "python",
        "-m",
        "c3jax.main",
    ]
    # Kubernetes reads $$ as $.
    assert [word.replace("$$", "$") for word in command] == [
        *program,
        *SHARED[1:],
        *AWKWARD,
    ]
    assert not any("${" in value for value in fields.values())
    expected = {
        **dict(parallelism="8", completions="8", maxRestarts="20", operator="NotIn"),
        **dict(image="registry/c3jax", claimName="shared", backoffLimit="0"),
        "google.com/tpu": "4",
        "cloud.google.com/gke-tpu-topology": "2x4x4",
    }
    assert expected.items() <= fields.items()
    output, _ = launch("gke.sh", "start", "--dry-run", "--spot", *GKE, *SHARED)
    assert "operator: In\n" in output


def test_gke_looks_after_a_jobset():
    flags = ["--name=c3", "--namespace=team"]
    assert dry("gke.sh", "delete", *flags) == [
        ["kubectl", "--namespace=team", "delete", "jobset", "c3"]
    ]
    assert dry("gke.sh", "logs", *flags)[0][-1] == "job/c3-slice-0"
    assert len(dry("gke.sh", "status", *flags)) == 2


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
