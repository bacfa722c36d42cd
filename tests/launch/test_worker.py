"""worker.sh: one worker, its log, its exit code and its checkpoints."""

import signal
import time

from tests.launch import support


def test_a_worker_that_was_stopped_does_not_look_finished(tmp_path):
    state = f"--state={tmp_path}/state"
    body = 'trap "echo saved; exit 0" TERM; echo up; while :; do sleep 0.02; done'
    assert " none, " in support.launch("worker.sh", "status", state)[0]
    output, _ = support.launch("worker.sh", "start", state, "--", "bash", "-c", body)
    assert " running, " in output
    again = ["start", state, "--", "true"]
    assert "already running" in support.launch("worker.sh", *again, code=2)[1]
    while "up" not in (tmp_path / "state/log").read_text().splitlines():
        time.sleep(0.02)
    assert " exited 143, " in support.launch("worker.sh", "stop", state)[0]
    assert " exited 143, " in support.launch("worker.sh", "status", state)[0]
    assert (tmp_path / "state/log").read_text().endswith("up\nsaved\n")
    support.launch("worker.sh", "run", "--", "bash", "-c", "exit 5", code=5)


def test_a_worker_does_not_start_where_its_mount_is_missing(tmp_path):
    arguments = [f"--state={tmp_path}/state", f"--mount={tmp_path}", "--", "true"]
    _, complaint = support.launch("worker.sh", "start", *arguments, code=2)
    assert f"nothing is mounted at {tmp_path}" in complaint
    assert not (tmp_path / "state").exists()
    support.stand_in(tmp_path, "mountpoint", "")
    env = support.beside(tmp_path)
    support.launch("worker.sh", "start", *arguments, env=env)
    assert (tmp_path / "calls").read_text() == f"mountpoint -q {tmp_path}\n"


def test_the_status_of_a_worker_says_which_checkpoint_is_the_newest(tmp_path):
    for path in ("runs/a b/checkpoints/9", "runs/c/checkpoints/12", "w/warm_start/7"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "runs/c/checkpoints/13.unfinished").mkdir()
    said = {"runs/a b": "is 9\n", "": "checkpoints is 12\n", "x": ", no checkpoint\n"}
    for workdir, newest in {**said, "w": "newest of warm_start is 7\n"}.items():
        arguments = [f"--state={tmp_path}/state", f"--workdir={workdir}"]
        output, _ = support.launch("worker.sh", "status", *arguments, cwd=tmp_path)
        assert output.endswith(newest)


def test_what_start_needs_is_named():
    _, complaint = support.launch("worker.sh", "start", *support.TRAIN, code=2)
    assert "add --state=DIR" in complaint


def test_a_worker_in_a_container_passes_the_signal_on(tmp_path):
    body = f'trap "exit 0" TERM; touch {tmp_path}/up; while :; do sleep 0.02; done'
    command = ["run", "--forward", "--", "bash", "-c", body]
    with support.start("worker.sh", *command) as run:
        while not (tmp_path / "up").exists():
            time.sleep(0.02)
        run.send_signal(signal.SIGTERM)
        assert run.wait(timeout=20) == 143
