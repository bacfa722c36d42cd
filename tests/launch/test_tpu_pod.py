"""tpu_pod.sh: what it types, and what it does when the cloud is not kind."""

import shlex
import signal
import subprocess
import time

import packaging.requirements
import pytest

from tests.launch import gcloud, support

SLICE = ["--name=c3", "--zone=us-east5-a", "--accelerator=v5p-16"]
WATCH = ["watch", *SLICE, "--nfs=host:/share", "--every=0", *support.SHARED]
QUEUE = ["gcloud", "compute", "tpus", "queued-resources"]
WHERE = ["--zone=us-east5-a", "--project=p"]
REFUSAL = "RESOURCE_EXHAUSTED: Quota limit 'TPUV5PPerProject' has been exceeded."
MADE = ["create", "scp", "install", "start"]
AGAIN = ["status", "stop", "scp", "install", "start"]


def running(count=2, at="no checkpoint"):
    return gcloud.workers(*[f"running, {at}"] * count)


def finished(count=2):
    return gcloud.workers(*["exited 0, newest of checkpoints is 9"] * count)


def died(at="no checkpoint"):
    return gcloud.workers(f"exited 1, {at}", f"exited 134, {at}")


def watch(tmp_path, cloud, *arguments, code=0):
    """The steps that `watch` takes, and what it says."""
    env = cloud.beside(tmp_path)
    _, said = support.launch("tpu_pod.sh", *arguments, *WATCH, code=code, env=env)
    return gcloud.steps(tmp_path), said


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--name=c3"], "say what to do: create install"),
        (["statsu"], "did you mean status?"),
        (["status"], "add --name=NAME"),
        (["status", "--name=c3"], "add --zone=ZONE"),
        (["create", *SLICE[:2]], "add --accelerator=TYPE"),
        (["create", *SLICE[:2], "--accelerator=v9-8"], "add --runtime"),
        (["create", *SLICE[:2], "--accelerator=tpu7x-8"], "launch/gke.sh start"),
        (["create", *SLICE, "--slices=0"], "--slices=0 is not a whole number of 1"),
        (["create", *SLICE, "--create-flag=--node-count=2"], "counted by --slices"),
        (["create", *SLICE, "--track=beta"], "queued resources are in alpha"),
        (["create", *SLICE, "--spot", "--flex-start=4h"], "give one of --spot"),
        (["create", *SLICE, "--internal-ip", "--tunnel-through-iap"], "not both"),
        (["install", *SLICE, "--ref=nowhere", "--dry-run"], "--ref=nowhere is not a"),
        (["start", *SLICE], "add, after --, what c3jax.main is to do"),
    ],
)
def test_what_is_missing_or_wrong_is_named(arguments, complaint):
    assert complaint in support.launch("tpu_pod.sh", *arguments, code=2)[1]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (support.TRAIN, "--workdir=runs/NAME is local to one of the machines of v5p"),
        ([*support.TRAIN, "--workdir=/data/x"], "--workdir=/data/x is local to one"),
        ([*support.TRAIN, "-workdir", "/data/x"], "--workdir=/data/x is local to one"),
        (support.SHARED, "nothing is mounted at /mnt/c3jax; add --nfs"),
        ([*support.TRAIN, "--workdir=gs://bucket/x"], "have a hierarchical namespace"),
    ],
)
def test_many_machines_need_a_workdir_that_all_see(arguments, complaint):
    arguments = ["watch", *SLICE, "--dry-run", *arguments]
    assert complaint in support.launch("tpu_pod.sh", *arguments, code=2)[1]
    arguments[3:4] = ["--accelerator=v5p-8", "--slices=2"]
    assert support.launch("tpu_pod.sh", *arguments, code=2)


def test_one_machine_may_keep_its_workdir_and_is_told_the_risk():
    single = [*SLICE[:2], "--accelerator=v5litepod-8", "--dry-run", *support.TRAIN]
    output, note = support.launch("tpu_pod.sh", "start", *single)
    assert "launch/worker.sh start" in output
    assert "--mount" not in output
    assert "lost when it is deleted or preempted" in note
    assert "v5litepod-8 is made for serving" in note


def test_machines_follow_from_the_name_of_the_accelerator():
    one = ["v2-8", "v4-8", "v5p-8", "v5litepod-1", "v5litepod-8", "v6e-4", "v6e-8"]
    machines = dict.fromkeys(one, 1) | {"v4-16": 2, "v3-32": 4, "v5p-64": 8}
    machines |= {"v5litepod-16": 4, "v6e-16": 4, "v6e-256": 64}
    script = """
        source accelerators.sh
        for type; do machines_of "$type"; echo; done
        chips_a_machine tpu-v6e-slice 8"""
    command = ["bash", "-c", script, "bash", *machines]
    said = subprocess.run(command, cwd=support.LAUNCH, capture_output=True, text=True)
    assert [int(n) for n in said.stdout.split()] == [*machines.values(), 8]


def test_a_slice_is_made_installed_and_started():
    flags = ["--project=p", "--spot", "--bucket=gs://b", "--create-flag=--tags=my tag"]
    asked, made, _, node, packed, sent, set_up, started, looked = (
        command[2:] if command[0] == "timeout" else command
        for command in support.dry(
            "tpu_pod.sh", "watch", *SLICE, *flags, *support.SHARED, *support.AWKWARD
        )
    )
    assert asked == [*QUEUE, "describe", "c3", *WHERE, "--format=value(state.state)"]
    assert made == [
        *(*QUEUE, "create", "c3", *WHERE, "--node-id=c3", "--accelerator-type=v5p-16"),
        *("--runtime-version=v2-alpha-tpuv5", "--spot", "--tags=my tag"),
    ]
    assert node[:5] == [*QUEUE[:3], "tpu-vm", "describe"]
    assert packed[:2] == ["git", "-C"]
    name = f"c3jax-{packed[-1][:12]}.tar.gz"
    patient = ["-oConnectTimeout=20", "-oServerAliveInterval=15", "-oBatchMode=yes"]
    everywhere = [*WHERE, "--node=all", "--worker=all", "--quiet"]
    assert sent[4] == "scp"
    assert sent[6:] == [
        *(f"c3:{name}", *everywhere, *(f"--scp-flag={flag}" for flag in patient))
    ]
    for command in (set_up, started, looked):
        assert command[:-1] == [
            *(*QUEUE, "ssh", "c3", *everywhere),
            *(f"--ssh-flag={flag}" for flag in patient),
        ]
    assert f"tar -xzf {name}" in set_up[-1]
    assert "tpu_setup.sh --mount=/mnt/c3jax --bucket=b && " in set_up[-1]
    # Read once more by the shell of the worker.
    remote = shlex.split(started[-1].removeprefix("--command="))
    assert remote == [
        *("cd", "c3jax", "&&", "launch/worker.sh", "start", "--state=../c3jax-state"),
        *("--mount=/mnt/c3jax", "--", "../c3jax-venv/bin/python", "-m", "c3jax.main"),
        *(*support.SHARED[1:], *support.AWKWARD),
    ]
    assert "worker.sh status" in looked[-1]


def test_a_slice_is_looked_after():
    common = SLICE[:2]
    [followed] = support.dry("tpu_pod.sh", "logs", *common, "--worker=3", "--slice=1")
    assert {"--worker=3", "--node=1"} < {*followed}
    assert followed[-1] == "--command=tail -n 100 -F c3jax-state/log"
    _, stopped = support.dry("tpu_pod.sh", "stop", *common, "--grace=600")
    assert stopped[:2] == ["timeout", "900"]
    assert "worker.sh stop --state=../c3jax-state" in stopped[-1]
    [deleted] = support.dry("tpu_pod.sh", "delete", *common)
    assert deleted[6:] == ["delete", "c3", "--zone=us-east5-a", "--force", "--quiet"]


@pytest.mark.parametrize(
    ("flags", "track", "sent"),
    [
        (
            ["--reserved", "--network=n", "--subnetwork=s", "--labels=a=b,c=d"],
            [],
            ["--node-id=c3", "--reserved", "--network=n", "--labels=a=b,c=d"],
        ),
        (
            ["--slices=2", "--spot", "--service-account=me@x", "--tunnel-through-iap"],
            [],
            ["--node-count=2", "--node-prefix=c3", "--spot", "--service-account=me@x"],
        ),
        (["--reservation=r", "--internal-ips"], ["alpha"], ["--reservation=r"]),
        (
            ["--flex-start=4h", "--batch-size=8", "--internal-ip"],
            ["alpha"],
            ["--provisioning-model=flex-start", "--max-run-duration=4h"],
        ),
        (
            ["--track=alpha", "--spot", "--create-flag=--autocheckpoint-enabled"],
            ["alpha"],
            ["--provisioning-model=spot", "--autocheckpoint-enabled"],
        ),
    ],
)
def test_every_flag_is_one_that_gcloud_has(tmp_path, flags, track, sent):
    slices = 1 + ("--slices=2" in flags)
    cloud = gcloud.Cloud(
        looks=[finished(2 * slices)],
        installs=[running(2 * slices)],
        starts=[running(2 * slices)],
    )
    taken, _ = watch(tmp_path, cloud, *flags)
    assert taken == [*MADE, "status"]
    made = [call for call in gcloud.calls(tmp_path) if "create" in call]
    assert made[0][: len(track) + 2] == [*track, "compute", "tpus"]
    assert {*sent} < {*made[0]}


@pytest.mark.parametrize(
    "wrong", ["--reservation=r", "--network-config=network=n", "--spto", "--type=v5p"]
)
def test_a_flag_that_gcloud_does_not_have_ends_the_run(tmp_path, wrong):
    wrong = f"--create-flag={wrong}"
    known = wrong.endswith("--type=v5p")
    taken, said = watch(tmp_path, gcloud.Cloud(), wrong, code=0 if known else 1)
    assert known or ("unrecognized arguments" in said and taken == ["create"])


def test_quota_that_is_refused_is_said_and_asked_for_once(tmp_path):
    taken, said = watch(tmp_path, gcloud.Cloud(refusals=[REFUSAL]), code=1)
    assert taken == ["create"]
    assert REFUSAL in said
    assert "failed and suspended requests too" in said


def test_a_request_that_fails_says_why_and_gives_its_quota_back(tmp_path):
    cloud = gcloud.Cloud(requests=["NONE", "FAILED", "NONE"], why=[REFUSAL])
    taken, said = watch(tmp_path, cloud, code=1)
    assert taken == ["create", "delete"]
    assert REFUSAL in said


def test_a_slice_that_was_taken_away_and_is_refused_is_not_asked_for_for_ever(tmp_path):
    cloud = gcloud.Cloud(
        requests=["NONE", "ACTIVE", "SUSPENDED", "SUSPENDED", "NONE"],
        refusals=["", REFUSAL],
    )
    taken, said = watch(tmp_path, cloud, "--attempts=3", code=1)
    assert taken == [*MADE, "delete", "create", "create", "create"]
    assert "gave up: 3 attempts in a row failed" in said


def test_a_slice_taken_away_while_it_starts_or_runs_is_replaced_uncounted(tmp_path):
    requests = ["NONE", "PROVISIONING", "SUSPENDED", "NONE", "ACTIVE", "ACTIVE"]
    requests += ["SUSPENDED", "SUSPENDED", "NONE", "ACTIVE"]
    cloud = gcloud.Cloud(requests, looks=[running(), finished()])
    taken, said = watch(tmp_path, cloud, "--restarts=0")
    assert taken == ["create", "delete", *MADE, "status", "delete", *MADE, "status"]
    assert "restart" not in said


def test_a_node_that_is_gone_under_an_active_request_is_replaced_uncounted(tmp_path):
    # gcloud leaves a node out that it cannot reach, and exits 0.
    nodes = ["READY,HEALTHY,2", *["PREEMPTED,HEALTHY,2"] * 2, "READY,,2"]
    requests = ["NONE", *["ACTIVE"] * 3, "NONE", "ACTIVE"]
    cloud = gcloud.Cloud(requests, nodes=nodes, looks=["", finished()])
    taken, said = watch(tmp_path, cloud, "--restarts=0")
    assert taken == [*MADE, "status", "delete", *MADE, "status"]
    assert "c3 is PREEMPTED" in said


def test_a_slice_whose_nodes_have_other_names_is_not_deleted(tmp_path):
    nodes = ["NONE", "NONE", "READY,HEALTHY,2"]
    cloud = gcloud.Cloud(["ACTIVE"], nodes=nodes, looks=[finished()])
    taken, said = watch(tmp_path, cloud)
    assert "delete" not in taken
    assert "no node is called c3; --slices=N names several" in said


def test_maintenance_is_waited_for(tmp_path):
    nodes = ["READY,HEALTHY,2", "READY,UNHEALTHY_MAINTENANCE,2", "REPAIRING,,2"]
    cloud = gcloud.Cloud(nodes=nodes, looks=[died(), died(), finished()])
    taken, said = watch(tmp_path, cloud)
    assert taken == [*MADE, *["status"] * 3]
    assert "waiting: c3 is under maintenance" in said
    assert "waiting: c3 is REPAIRING" in said


def test_one_machine_of_eight_that_does_not_answer_is_noticed(tmp_path):
    eight = ["--accelerator=v5p-64"]
    cloud = gcloud.Cloud(
        nodes=["READY,HEALTHY,8"],
        installs=[running(8)],
        starts=[running(8)],
        stops=[running(8)],
        looks=[
            *(running(7), running(7) + "!255", running(8), running(7), running(7)),
            *(running(7), gcloud.workers(*["exited 1, x"] * 8), finished(8)),
        ],
    )
    taken, said = watch(tmp_path, cloud, *eight)
    assert taken == [*MADE, *["status"] * 6, *AGAIN, "status"]
    assert "7 of 8 machines answered" in said
    assert "restart 1 of 20" in said
    assert "restart 2 of 20" not in said


def test_an_installation_that_a_machine_missed_is_not_started(tmp_path):
    cloud = gcloud.Cloud(installs=[running(1)])
    taken, said = watch(tmp_path, cloud, code=1)
    assert taken == MADE[:-1]
    assert "1 of 2 machines answered" in said


def test_what_a_restarted_machine_lost_is_installed_before_it_starts(tmp_path):
    dead = gcloud.workers(*["dead, no checkpoint"] * 2)
    cloud = gcloud.Cloud(looks=[dead, dead, finished()])
    taken, _ = watch(tmp_path, cloud)
    assert taken == [*MADE, "status", *AGAIN, "status"]
    started = [call[-1] for call in gcloud.calls(tmp_path) if "start" in call[-1]]
    assert all("--mount=/mnt/c3jax" in command for command in started)


def test_a_mistake_in_the_config_fails_twice_and_no_more(tmp_path):
    cloud = gcloud.Cloud(looks=[died()])
    taken, said = watch(tmp_path, cloud, code=1)
    assert taken == [*MADE, "status", *AGAIN, "status", *AGAIN[:-1]]
    assert "workers died twice without a new checkpoint (no checkpoint)" in said
    assert "delete --name=c3 --zone=us-east5-a" in said


def test_deaths_that_leave_a_new_checkpoint_are_counted_up_to_restarts(tmp_path):
    installs = [gcloud.workers(*[f"none, newest is {step}"] * 2) for step in range(9)]
    cloud = gcloud.Cloud(looks=[died()], installs=installs)
    taken, said = watch(tmp_path, cloud, "--restarts=2", code=1)
    assert taken.count("start") == 3
    assert "workers died 2 times and once more" in said


def ended(tmp_path, cloud, way, arguments=WATCH):
    """What `watch` says when a signal ends it at its first look."""
    env = cloud.beside(tmp_path)
    (tmp_path / "calls").touch()
    with support.start("tpu_pod.sh", *arguments, env=env) as run:
        while "status" not in gcloud.steps(tmp_path):
            time.sleep(0.01)
        begun = time.monotonic()
        run.send_signal(way)
        said = run.communicate(timeout=20)[1]
    assert time.monotonic() - begun < 5
    assert run.returncode == 128 + way
    return said


def test_a_signal_ends_watch_at_once_and_what_is_left_is_said(tmp_path):
    hanging = gcloud.Cloud(looks=["hang"])
    said = ended(tmp_path, hanging, signal.SIGTERM)
    assert "tpu_pod.sh delete --name=c3 --zone=us-east5-a" in said
    waiting = [word.replace("--every=0", "--every=1") for word in WATCH]
    (tmp_path / "2").mkdir()
    looked = gcloud.Cloud(looks=[running()])
    said = ended(tmp_path / "2", looked, signal.SIGINT, waiting)
    assert "a request holds quota" in said


def test_a_call_that_hangs_is_ended(tmp_path):
    cloud = gcloud.Cloud(looks=["hang", finished()])
    cloud.beside(tmp_path)
    (tmp_path / "timeout").write_text(
        f"""#!/bin/bash
        [[ $1 == --kill-after=10 && $2 -ge 300 ]] || exit 99
        limit=$2 look=$(head -n 1 {tmp_path}/cloud/looks)
        [[ "$*" != *"test -d c3jax-state"* || $look != hang ]] || limit=0.1
        exec /usr/bin/timeout $limit "${{@:3}}"
        """
    )
    (tmp_path / "timeout").chmod(0o755)
    _, said = support.launch("tpu_pod.sh", *WATCH, env=support.beside(tmp_path))
    assert "no end within 300 seconds: gcloud compute tpus queued-resources ssh" in said
    assert gcloud.steps(tmp_path) == [*MADE, "status", "status"]


def test_what_is_typed_on_a_machine_works_in_its_shell(tmp_path):
    single = [*SLICE[:2], "--accelerator=v5p-8", *support.TRAIN, *support.AWKWARD]
    *_, packed, sent, set_up, started, looked = (
        command[-1].removeprefix("--command=")
        for command in support.dry("tpu_pod.sh", "watch", *single)
    )
    assert packed and sent
    (tmp_path / "c3jax-venv/bin").mkdir(parents=True)
    program = tmp_path / "c3jax-venv/bin/python"
    program.write_text(
        '#!/bin/bash\nmkdir -p runs/x/checkpoints/4\nprintf "%s\\n" "$@"\n'
    )
    program.chmod(0o755)
    archive = set_up.split("tar -xzf ")[1].split()[0]
    subprocess.run(["tar", "-czf", tmp_path / archive, "launch"], cwd=support.ROOT)

    def on(command):
        # As gcloud does it, which splits at blanks and ssh joins.
        command = " ".join(
            command.replace("tpu_setup.sh ", "tpu_setup.sh --dry-run ").split(" ")
        )
        env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        options = dict(
            cwd=tmp_path, env=env, capture_output=True, text=True, check=True
        )
        return subprocess.run(["bash", "-c", command], **options).stdout.splitlines()

    assert on(looked)[0].endswith(" none")
    assert on(set_up)[-1].endswith(" none, no checkpoint")
    assert on(started)[-1].startswith("worker ")
    while "running" in on(looked)[0]:
        time.sleep(0.01)
    assert on(looked)[0].endswith(" exited 0, newest of checkpoints is 4")
    said = (tmp_path / "c3jax-state/log").read_text().splitlines()[1:]
    assert said == ["-m", "c3jax.main", *support.TRAIN[1:], *support.AWKWARD]


def test_setup_installs_what_is_locked_and_mounts_what_is_shared():
    commands = support.dry("tpu_setup.sh", "--bucket=b")
    assert commands[-1][-2:] == ["b", "/mnt/c3jax"]
    assert any(command[-2:] == ["-r", "requirements-tpu.lock"] for command in commands)
    assert any("transparent_hugepage" in command[-1] for command in commands)
    commands = support.dry("tpu_setup.sh", "--nfs=host:/share", "--mount=/data")
    options = ["-t", "nfs", "-o", "vers=4.1,hard"]
    assert ["sudo", "mount", *options, "host:/share", "/data"] in commands


def test_the_lock_holds_a_version_of_every_requirement():
    locked = {}
    for line in (support.ROOT / "requirements-tpu.lock").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            locked[name] = version
    wanted = [
        packaging.requirements.Requirement(line)
        for page in ("requirements.txt", "requirements-tpu.txt")
        for line in (support.ROOT / page).read_text().splitlines()
        if line and not line.startswith(("#", "-r"))
    ]
    for requirement in wanted:
        name = requirement.name.lower().replace("_", "-")
        assert locked[name] in requirement.specifier, requirement
    assert locked["jax"] == locked["jaxlib"]
    assert "libtpu" in locked
