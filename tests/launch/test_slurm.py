"""slurm_gpu.sh: the job it submits, and what the job does on its nodes."""

import shlex

import pytest

from tests.launch import support, tools

TRAIN = ["--", "--config=configs/math.py"]
HOUR = "--time=1:00:00"


def dry(*arguments):
    """The commands it would type, each as the words a shell would read."""
    output, _ = support.launch(
        "slurm_gpu.sh", arguments[0], "--dry-run", *arguments[1:]
    )
    return [shlex.split(line) for line in output.splitlines()]


def submitted(*flags, rest=()):
    """The flags of sbatch, as it would read them."""
    made, command = dry("submit", HOUR, *flags, *TRAIN, *rest)
    assert made == ["mkdir", "-p", "runs/logs"]
    tool, given, rest = tools.read(command)
    assert (tool, rest) == ("sbatch", [])
    return given


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (TRAIN, "add --time=TIME"),
        ([HOUR], "add, after --, what"),
        ([HOUR, "--grace=70000", *TRAIN], "--grace=70000 is more than 65535"),
        (
            [HOUR, "--gres=h100:8", *TRAIN],
            "--gres=h100:8 is not like gpu:8, gpu:TYPE:8",
        ),
        ([HOUR, "--gres=gpu:4", *TRAIN], "--gres=gpu:4 is not the --gpus=8 of a node"),
        (
            [HOUR, "--nodes=2", *TRAIN, "--workdir=/tmp/x"],
            "--workdir=/tmp/x is local to one node",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_named(flags, complaint):
    assert complaint in support.launch("slurm_gpu.sh", "submit", *flags, code=2)[1]


def test_one_process_a_node_is_submitted():
    flags = ["--nodes=2", "--account=me", "--sbatch-flag=--qos=high"]
    given = submitted(*flags, rest=support.AWKWARD)
    job = shlex.split(given.pop("wrap"))
    assert given == {
        "job-name": "c3jax",
        "nodes": "2",
        "ntasks-per-node": "1",
        "gpus-per-node": "8",
        "exclusive": "",
        "mem": "0",
        "time": "1:00:00",
        "signal": "B:USR1@300",
        "requeue": "",
        "open-mode": "append",
        "chdir": str(support.ROOT),
        "output": "runs/logs/%x-%j.log",
        "account": "me",
        "qos": "high",
    }
    assert job[:3] == ["exec", "launch/slurm_gpu.sh", "job"]
    assert job[job.index("--") :] == [*TRAIN, *support.AWKWARD]
    exported, stepped = dry(*job[2:])
    assert exported == ["export", "JAX_LOCAL_DEVICE_IDS=0,1,2,3,4,5,6,7"]
    tool, given, command = tools.read(stepped)
    assert tool == "srun"
    assert given.keys() == {
        *("cpus-per-task", "kill-on-bad-exit", "wait", "open-mode", "output"),
    }
    program = ["launch/worker.sh", "run", "--", "python", "-m", "c3jax.main"]
    assert command == [*program, *TRAIN[1:], *support.AWKWARD]


@pytest.mark.parametrize(
    ("flags", "asked"),
    [
        (["--gres=gpu:8"], {"gres": "gpu:8"}),
        (["--gpus=4", "--gres=gpu:h100:4"], {"gres": "gpu:h100:4"}),
        (["--gres=none"], {}),
    ],
)
def test_sites_without_gpus_per_node_are_asked_in_their_own_way(flags, asked):
    given = submitted(*flags)
    assert {k: v for k, v in given.items() if k in ("gres", "gpus-per-node")} == asked
    # The processes are told of all GPUs in any case.
    assert "--gpus=4" in given["wrap"] or "--gpus=8" in given["wrap"]


@pytest.mark.parametrize(
    ("srun", "state", "code", "called"),
    [
        ("exit 0", "RUNNING", 0, ["srun"]),
        ("exit 7", "RUNNING", 7, ["srun", "srun"]),
        # A usage error would be one the next time too; a crash in Python exits 1.
        ("exit 2", "RUNNING", 2, ["srun"]),
        ("exit 1", "RUNNING", 1, ["srun", "srun"]),
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
def test_a_job_starts_again_or_goes_back_to_the_queue(
    tmp_path, srun, state, code, called
):
    # srun is a child of a child of the script.
    srun = srun.replace("$PPID", "$(ps -o ppid= -p $PPID)")
    tools.stand_in(tmp_path, "srun", srun)
    tools.stand_in(tmp_path, "squeue", f"echo {state}")
    tools.stand_in(tmp_path, "scancel", "touch told")
    tools.stand_in(tmp_path, "scontrol")
    env = support.beside(tmp_path, SLURM_JOB_ID="5")
    support.launch("slurm_gpu.sh", "job", "--restarts=1", *TRAIN, code=code, env=env)
    given = tools.calls(tmp_path)
    assert [words[0] for words in given] == called
    if "scontrol" in called:
        assert given[-1][1:] == ["requeue", "5"]


def test_help_tells_a_preempted_job_its_time():
    output, _ = support.launch("slurm_gpu.sh", "--help")
    for word in ("GraceTime", "KillWait", "select/cons_tres"):
        assert word in output


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("sbatch --gpus-pernode=8 --wrap=x", "unrecognized option '--gpus-pernode'"),
        ("sbatch --requeue=yes --wrap=x", "'--requeue' doesn't allow an argument"),
        ("sbatch --signal=USR1:300 --wrap=x", "invalid value of --signal"),
        ("sbatch --wrap=x job.sh", "a script or --wrap"),
        ("srun --wait", "'--wait' requires an argument"),
        ("srun --requeue true", "unrecognized option '--requeue'"),
        ("scancel --signal=B:TERM 5", "invalid value of --signal"),
        ("squeue --job=5", "unrecognized option '--job'"),
        ("scontrol requeue-hold 5", "unknown command: scontrol requeue-hold"),
        ("kubectl logs --tail=5 --selectors=a=b", "unrecognized option '--selectors'"),
        ("kubectl logs --follow --tail=all pod", "invalid value of --tail"),
        ("kubectl delete jobset c3 --cascade=fg", "invalid value of --cascade"),
        ("kubectl logs c3 --selector=a=b", "a pod or a selector"),
    ],
)
def test_the_stand_ins_refuse_what_the_tools_refuse(command, complaint):
    with pytest.raises(ValueError, match=complaint):
        tools.read(command.split())


def test_a_stand_in_ends_a_script_that_gives_a_wrong_flag(tmp_path):
    tools.stand_in(tmp_path, "sbatch")
    flags = [
        "submit",
        HOUR,
        f"--logs={tmp_path}",
        "--sbatch-flag=--gpu-count=8",
        *TRAIN,
    ]
    _, said = support.launch(
        "slurm_gpu.sh", *flags, code=1, env=support.beside(tmp_path)
    )
    assert "sbatch: unrecognized option '--gpu-count'" in said
