"""gke.sh: the manifest it applies and the commands it types."""

import functools
import json
import shlex

import pytest

from tests.launch import jobset, support, tools

IMAGE = ["--name=c3", "--image=registry/c3jax"]
V5P = ["--accelerator=tpu-v5p-slice", "--topology=2x4x4"]
V6E = ["--accelerator=tpu-v6e-slice", "--topology=4x4"]
CLAIM = ["--claim=shared"]
TRAIN = ["--", "--config=configs/math.py"]
SHARED = [*TRAIN, "--workdir=/mnt/c3jax/math"]


@functools.cache
def printed(*flags, rest=()):
    """The manifest that `start` would apply."""
    output, _ = support.launch(
        "gke.sh", "start", "--dry-run", *IMAGE, *flags, *SHARED, *rest
    )
    first, *manifest, last = output.splitlines()
    assert (first, last) == ("kubectl apply --filename=- <<'EOF'", "EOF")
    return "\n".join(manifest)


def applied(*flags, rest=()):
    """The JobSet of that; refused if an API server would."""
    return jobset.load(printed(*flags, rest=rest))


def job(found):
    [replicated] = found["spec"]["replicatedJobs"]
    return replicated["template"]["spec"]


def pod(found):
    return job(found)["template"]["spec"]


def container(found):
    [one] = pod(found)["containers"]
    return one


def typed(verb, *flags):
    """The commands of a verb, as kubectl would read them."""
    output, _ = support.launch("gke.sh", verb, "--dry-run", "--name=c3", *flags)
    return [tools.read(shlex.split(line)) for line in output.splitlines()]


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--name=c3"], "add --image=IMAGE"),
        ([*IMAGE, *V5P, *SHARED], "add --claim=CLAIM, a persistent volume claim"),
        (
            [*IMAGE, *V5P, *CLAIM, "--bucket=b", *SHARED],
            "--claim and --bucket are both",
        ),
        ([*IMAGE, *V5P, *CLAIM, *TRAIN], "--workdir=runs/NAME is lost"),
        ([*IMAGE, *V5P, *CLAIM, "--chips=5", *SHARED], "--chips=5 does not divide"),
        ([*IMAGE, *V5P, *CLAIM, "--ttl=no", *SHARED], "--ttl=no is not a whole"),
        ([*IMAGE, *V5P, *CLAIM, "--env=A", *SHARED], "--env=A is not KEY=VALUE"),
        (
            [*IMAGE, "--accelerator=tpu-v5p", "--topology=2x4x4", *CLAIM, *SHARED],
            "tpu-v5p-slice, tpu-v6e-slice and tpu7x; for another add --chips=N",
        ),
        (
            [*IMAGE, V5P[0], "--topology=4x4", *CLAIM, *SHARED],
            "--topology=4x4 is not one of tpu-v5p-slice, which is like 2x4x4",
        ),
        ([*IMAGE, V6E[0], "--topology=2x2x2", *CLAIM, *SHARED], "which is like 2x4"),
        ([*IMAGE, V5P[0], "--topology=1x1x1", *CLAIM, *SHARED], "--chips=4 does not"),
        (
            [*IMAGE, V6E[0], "--topology=2x4", *CLAIM, *SHARED],
            "one machine of 8 chips or two of 4: add --chips=8 or --chips=4",
        ),
        (
            [*IMAGE, V5P[0], "--topology=2x2x1", "--slices=2", *CLAIM, *SHARED],
            "--slices=2: GKE joins only slices of several machines",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_named(flags, complaint):
    assert complaint in support.launch("gke.sh", "start", *flags, code=2)[1]


def test_arguments_reach_c3jax_as_they_were_given():
    awkward = (*support.AWKWARD, "--y=$(HOME)$$")
    found = container(applied(*V5P, *CLAIM, '--env=A=$(B) "c"', rest=awkward))
    program = ["launch/worker.sh", "run", "--forward", "--"]
    program += ["python", "-m", "c3jax.main", *SHARED[1:]]
    assert [jobset.expanded(word) for word in found["command"]] == [*program, *awkward]
    [variable] = found["env"]
    assert (variable["name"], jobset.expanded(variable["value"])) == ("A", '$(B) "c"')


@pytest.mark.parametrize(
    ("label", "topology", "chips", "machines"),
    [
        ("tpu-v4-podslice", "2x2x4", 4, 4),
        ("tpu-v5-lite-podslice", "1x1", 1, 1),
        ("tpu-v5-lite-podslice", "2x2", 4, 1),
        ("tpu-v5-lite-podslice", "4x8", 4, 8),
        ("tpu-v5p-slice", "2x2x1", 4, 1),
        ("tpu-v5p-slice", "2x4x4", 4, 8),
        ("tpu-v6e-slice", "1x1", 1, 1),
        ("tpu-v6e-slice", "16x16", 4, 64),
        ("tpu7x", "1x1x1", 1, 1),
        ("tpu7x", "2x2x1", 4, 1),
        ("tpu7x", "4x4x4", 4, 16),
    ],
)
def test_the_machines_of_a_slice_follow_from_label_and_topology(
    label, topology, chips, machines
):
    found = applied(f"--accelerator={label}", f"--topology={topology}", *CLAIM)
    assert job(found)["parallelism"] == job(found)["completions"] == machines
    assert container(found)["resources"]["limits"] == {"google.com/tpu": chips}
    assert pod(found)["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": label,
        "cloud.google.com/gke-tpu-topology": topology,
        "cloud.google.com/gke-accelerator-count": str(chips),
    }


@pytest.mark.parametrize(("chips", "machines"), [(8, 1), (4, 2)])
def test_a_slice_of_8_chips_is_one_machine_or_two(chips, machines):
    found = applied(V6E[0], "--topology=2x4", f"--chips={chips}", *CLAIM)
    assert job(found)["completions"] == machines
    assert container(found)["resources"]["limits"] == {"google.com/tpu": chips}


def test_a_chip_of_tpu7x_is_two_devices():
    flags = ["start", "--dry-run", *IMAGE, "--topology=2x4x4", *CLAIM]
    _, said = support.launch(
        "gke.sh", *flags, "--accelerator=tpu7x", "--slices=2", *SHARED
    )
    assert "2 x 8 machines of 4 chips: 128 devices" in said
    _, said = support.launch("gke.sh", *flags, V5P[0], *SHARED)
    assert "1 x 8 machines of 4 chips: 32 devices" in said


def test_a_newer_label_goes_with_chips():
    found = applied("--accelerator=tpu9", "--topology=2x2x2", "--chips=8", *CLAIM)
    assert job(found)["completions"] == 1


@pytest.mark.parametrize("machine", [(1, 24, 48), (4, 112, 192), (8, 180, 384)])
def test_requests_leave_room_on_the_smallest_machines(machine):
    """Of v5e, by "TPUs in GKE" of 2024; of 8 chips v6e has the fewest processors."""
    chips, cpus, gib = machine
    topology = {1: "1x1", 4: "2x2", 8: "2x4"}[chips]
    shape = [V6E[0], f"--topology={topology}", f"--chips={chips}", *CLAIM]
    asked = container(applied(*shape))["resources"]["requests"]
    assert 0 < int(asked["cpu"]) <= 0.75 * cpus
    assert 0 < int(asked["memory"].removesuffix("Gi")) <= 0.75 * gib
    asked = container(applied(*shape, "--cpu=8", "--memory=9Gi"))["resources"]
    assert asked["requests"] == {"cpu": "8", "memory": "9Gi"}


def test_what_has_no_value_is_left_out():
    found = applied(*V5P, *CLAIM)
    assert "${" not in str(found)
    assert not {"labels"} & found["metadata"].keys()
    assert (
        not {"serviceAccountName", "imagePullSecrets", "hostNetwork"}
        & pod(found).keys()
    )
    assert not {"env", "securityContext"} & container(found).keys()
    assert "ttlSecondsAfterFinished" not in found["spec"]


@pytest.mark.parametrize(("spot", "operator"), [([], "NotIn"), (["--spot"], "In")])
def test_spot_nodes_are_taken_when_asked_for_and_taints_are_borne(spot, operator):
    found = pod(applied(*V5P, *CLAIM, *spot))
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    [term] = found["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"]
    [wanted] = term["matchExpressions"]
    assert wanted == {
        "key": "cloud.google.com/gke-spot",
        "operator": operator,
        "values": ["true"],
    }
    tpu, taint = found["tolerations"]
    assert tpu == {"key": "google.com/tpu", "operator": "Exists"}
    assert taint == {
        "key": "cloud.google.com/gke-spot",
        "operator": "Equal",
        "value": "true",
        "effect": "NoSchedule",
    }


@pytest.mark.parametrize(
    ("code", "conditions", "action"),
    [
        # A node that is drained or taken away: saved or not, or with no time to say.
        (143, ["DisruptionTarget"], "RestartJobSetAndIgnoreMaxRestarts"),
        (137, ["DisruptionTarget"], "RestartJobSetAndIgnoreMaxRestarts"),
        (2, ["DisruptionTarget"], "RestartJobSetAndIgnoreMaxRestarts"),
        # A usage error, which would be the same the next time.
        (2, [], "FailJobSet"),
        # Exceptions, aborts of XLA, lack of memory, signals and what bash cannot run.
        *((code, [], "RestartJobSet") for code in (1, 126, 127, 134, 137, 139, 143)),
    ],
)
def test_only_failures_count_and_only_usage_errors_are_final(code, conditions, action):
    assert jobset.after(applied(*V5P, *CLAIM), code, *conditions) == action


def test_a_usage_error_is_the_code_of_the_launch_scripts():
    support.launch("worker.sh", "run", "--no-such-flag", code=2)


def test_all_processes_are_gone_before_any_is_started_again():
    policy = applied(*V5P, *CLAIM, "--restarts=7")["spec"]["failurePolicy"]
    assert policy["restartStrategy"] == "BlockingRecreate"
    assert policy["maxRestarts"] == 7


def test_slices_of_one_run_share_the_network_of_their_machines():
    found = applied(*V6E, "--slices=3", *CLAIM)
    assert found["spec"]["replicatedJobs"][0]["replicas"] == 3
    assert pod(found)["hostNetwork"] is True
    assert pod(found)["dnsPolicy"] == "ClusterFirstWithHostNet"
    assert job(found)["completions"] == 4


def test_processes_have_room_for_what_they_share():
    found = applied(*V5P, *CLAIM)
    memory = {"name": "memory", "emptyDir": {"medium": "Memory"}}
    assert memory in pod(found)["volumes"]
    mounts = container(found)["volumeMounts"]
    assert {"name": "memory", "mountPath": "/dev/shm"} in mounts


def test_the_workdir_is_on_a_claim_or_in_a_bucket():
    found = applied(*V5P, *CLAIM)
    shared = {"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}
    assert shared in pod(found)["volumes"]
    assert "metadata" not in job(found)["template"]
    for slices in ("1", "2"):
        found = applied(*V5P, "--bucket=gs://b", f"--slices={slices}")
        csi = pod(found)["volumes"][-1]["csi"]
        assert csi["driver"] == "gcsfuse.csi.storage.gke.io"
        attributes = csi["volumeAttributes"]
        assert attributes["bucketName"] == "b"
        # On the network of its machine a pod has no identity of its own otherwise.
        assert ("hostNetworkPodKSA" in attributes) == (slices == "2")
        annotations = job(found)["template"]["metadata"]["annotations"]
        assert annotations == {"gke-gcsfuse/volumes": "true"}


def test_a_cluster_is_told_who_and_whose_the_run_is():
    found = applied(
        *(*V6E, *CLAIM, "--privileged", "--service-account=runner", "--ttl=3600"),
        *("--pull-secret=registry", "--queue=tpus", "--priority-class=high"),
        *("--label=team=credit", "--label=example.com/cost=a"),
    )
    labels = {"team": "credit", "example.com/cost": "a"}
    assert found["metadata"]["labels"] == labels | {"kueue.x-k8s.io/queue-name": "tpus"}
    assert job(found)["template"]["metadata"]["labels"] == labels
    assert found["spec"]["ttlSecondsAfterFinished"] == 3600
    assert pod(found)["serviceAccountName"] == "runner"
    assert pod(found)["imagePullSecrets"] == [{"name": "registry"}]
    assert pod(found)["priorityClassName"] == "high"
    assert container(found)["securityContext"] == {"privileged": True}


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (("maxRestarts:", "maxRestart:"), "unknown field"),
        (("BlockingRecreate", "BlockingRestart"), "none of"),
        (('gke-accelerator-count: "8"', "gke-accelerator-count: 8"), "not like"),
        (("containerName: c3jax", "containerName: main"), "containerName"),
        (("name: memory", "name: other"), "Not found"),
        (("values: [2]", "values: [0, 2]"), "not 0"),
        (("backoffLimit: 0", "backoffLimit: '0'"), "no int"),
        (("restartPolicy: Never", "restartPolicy: OnFailure"), "only Never"),
        (("kind: JobSet", "kind: JobSet\nkind: JobSet"), "duplicate"),
    ],
)
def test_a_manifest_that_an_api_server_would_refuse_is_refused_here(wrong, complaint):
    manifest = printed(V6E[0], "--topology=2x4", "--chips=8", *CLAIM)
    jobset.load(manifest)
    assert wrong[0] in manifest
    with pytest.raises(ValueError, match=complaint):
        jobset.load(manifest.replace(*wrong, 1))


def test_the_log_is_that_of_process_0():
    for flags in ([], ["--namespace=team"]):
        [(command, given, rest)] = typed("logs", *flags)
        assert (command, rest) == ("kubectl logs", [])
        chosen = dict(pair.split("=") for pair in given["selector"].split(","))
        assert chosen == {
            "jobset.sigs.k8s.io/jobset-name": "c3",
            "jobset.sigs.k8s.io/job-index": "0",
            "batch.kubernetes.io/job-completion-index": "0",
        }
        # A bucket's pods have a second container.
        assert given["container"] == "c3jax"
        assert "follow" in given
        assert given.get("namespace", "") == ("team" if flags else "")


def test_delete_waits_until_every_pod_is_gone():
    [(command, given, rest)] = typed("delete", "--namespace=team")
    assert (command, rest) == ("kubectl delete", ["jobset", "c3"])
    assert given == {"namespace": "team", "cascade": "foreground"}


def test_status_shows_the_jobset_and_its_pods():
    whole, pods = typed("status")
    assert whole == ("kubectl get", {}, ["jobset", "c3"])
    assert pods[1]["selector"] == "jobset.sigs.k8s.io/jobset-name=c3"


def test_what_is_printed_is_what_is_applied(tmp_path):
    tools.stand_in(tmp_path, "kubectl", "[[ $1 != apply ]] || cat >manifest")
    flags = ["start", *IMAGE, *V5P, *CLAIM, *SHARED]
    support.launch("gke.sh", *flags, env=support.beside(tmp_path))
    found = jobset.load((tmp_path / "manifest").read_text())
    assert found == applied(*V5P, *CLAIM)
    support.launch("gke.sh", "logs", "--name=c3", env=support.beside(tmp_path))
    assert [tools.read(call)[0] for call in tools.calls(tmp_path)] == [
        "kubectl apply",
        "kubectl logs",
    ]


def test_help_tells_every_label_and_what_chips_are_to_jax():
    output, _ = support.launch("gke.sh", "--help")
    for label in ("v4-podslice", "v5-lite-podslice", "v5p-slice", "v6e-slice"):
        assert f"tpu-{label}" in output
    assert "tpu7x, a chip of which is two" in output
    assert "v6e and tpu7x" in output[output.index("--privileged") :]


def test_the_template_says_what_a_spot_node_gives():
    template = (support.ROOT / "launch" / "gke_jobset.yaml").read_text()
    assert "gives pods 15 seconds" in template
    assert json.dumps("has condition DisruptionTarget ") in template
