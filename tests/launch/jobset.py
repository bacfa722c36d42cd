"""What an API server would say of a JobSet, and what would come of its failures.

Field names and values: jobset_types.go of kubernetes-sigs/jobset v1alpha2 (2026-08) and
k8s.io/api batch/v1 and core/v1 of Kubernetes 1.32. Only fields that we may use are
here: what is not is refused, as `kubectl apply` does, whose --validate is strict.
"""

import re

import yaml

_DNS = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_KEY = re.compile(r"([a-z0-9.-]+/)?[A-Za-z0-9]([-\w.]*[A-Za-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?")
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|[kMGTPE]|[KMGTPE]i)?")
_RULE = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
_ENV = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_REASONS = (
    "BackoffLimitExceeded DeadlineExceeded FailedIndexes MaxFailedIndexesExceeded"
)

# A type; a pattern or a tuple of what a string may be; [what each item is]; a pair of
# what keys and values are; or a dict of fields, of which `name!` must be there.
_LABELS = (_KEY, _LABEL)
_ANNOTATIONS = (_KEY, str)
_RESOURCES = (_KEY, _QUANTITY)
_SELECTED = {
    "key!": _KEY,
    "operator!": {"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"},
    "values": [str],
}
_CONTAINER = {
    "name!": _DNS,
    "image!": str,
    "workingDir": str,
    "command": [str],
    "args": [str],
    "env": [{"name!": _ENV, "value": str}],
    "ports": [{"containerPort!": int, "name": _DNS, "protocol": {"TCP", "UDP"}}],
    "resources": {"limits": _RESOURCES, "requests": _RESOURCES},
    "securityContext": {"privileged": bool},
    "volumeMounts": [{"name!": _DNS, "mountPath!": str, "readOnly": bool}],
}
_VOLUME = {
    "name!": _DNS,
    "emptyDir": {"medium": {"", "Memory"}, "sizeLimit": _QUANTITY},
    "persistentVolumeClaim": {"claimName!": _DNS, "readOnly": bool},
    "csi": {"driver!": _DNS, "readOnly": bool, "volumeAttributes": (str, str)},
}
_POD = {
    "restartPolicy!": {"Never", "OnFailure"},
    "serviceAccountName": _DNS,
    "imagePullSecrets": [{"name!": _DNS}],
    "priorityClassName": _DNS,
    "hostNetwork": bool,
    "dnsPolicy": {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"},
    "terminationGracePeriodSeconds": int,
    "nodeSelector": _LABELS,
    "tolerations": [
        {
            "key": _KEY,
            "operator": {"Exists", "Equal"},
            "value": _LABEL,
            "effect": {"NoSchedule", "PreferNoSchedule", "NoExecute"},
        }
    ],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms!": [{"matchExpressions": [_SELECTED]}]
            }
        }
    },
    "containers!": [_CONTAINER],
    "volumes": [_VOLUME],
}
_JOB = {
    "completionMode": {"Indexed", "NonIndexed"},
    "parallelism": int,
    "completions": int,
    "backoffLimit": int,
    "podFailurePolicy": {
        "rules!": [
            {
                "action!": {"FailJob", "FailIndex", "Ignore", "Count"},
                "onPodConditions": [
                    {"type!": _LABEL, "status": {"True", "False", "Unknown"}}
                ],
                "onExitCodes": {
                    "containerName": _DNS,
                    "operator!": {"In", "NotIn"},
                    "values!": [int],
                },
            }
        ]
    },
    "template!": {
        "metadata": {"labels": _LABELS, "annotations": _ANNOTATIONS},
        "spec!": _POD,
    },
}
_JOBSET = {
    "apiVersion!": {"jobset.x-k8s.io/v1alpha2"},
    "kind!": {"JobSet"},
    "metadata!": {"name!": _DNS, "labels": _LABELS, "annotations": _ANNOTATIONS},
    "spec!": {
        "ttlSecondsAfterFinished": int,
        "failurePolicy": {
            "maxRestarts": int,
            "restartStrategy": {"Recreate", "BlockingRecreate", "InPlaceRestart"},
            "rules": [
                {
                    "name!": _RULE,
                    "action!": {
                        "FailJobSet",
                        "RestartJobSet",
                        "RestartJobSetAndIgnoreMaxRestarts",
                        "RestartJob",
                        "RestartJobAndIgnoreMaxRestarts",
                    },
                    "onJobFailureReasons": [{"PodFailurePolicy", *_REASONS.split()}],
                    "onJobFailureMessagePatterns": [str],
                    "targetReplicatedJobs": [_DNS],
                }
            ],
        },
        "replicatedJobs!": [
            {
                "name!": _DNS,
                "replicas": int,
                "template!": {"metadata": {"labels": _LABELS}, "spec!": _JOB},
            }
        ],
    },
}


class Strict(yaml.SafeLoader):
    """Refuses a key that is there twice, as strict decoding does."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        if len(keys) != len(set(keys)):
            raise ValueError(f"duplicate field in {keys}")
        return super().construct_mapping(node, deep)


def load(text: str) -> dict:
    """The JobSet of a manifest.

    Raises:
        ValueError: an API server would refuse it.
    """
    jobset = yaml.load(text, Strict)
    _check(jobset, _JOBSET, "jobset")
    for replicated in jobset["spec"]["replicatedJobs"]:
        job = replicated["template"]["spec"]
        _fitting(jobset, job, job["template"]["spec"])
    return jobset


def _check(value, wanted, place: str) -> None:
    """Refuses what is not of the type wanted."""
    if isinstance(wanted, dict):
        fields = {name.rstrip("!"): kind for name, kind in wanted.items()}
        if not isinstance(value, dict) or not value.keys() <= fields.keys():
            raise ValueError(f"{place}: unknown field in {value!r:.200}")
        for name in wanted:
            if name[-1] == "!" and name[:-1] not in value:
                raise ValueError(f"{place}.{name[:-1]}: Required value")
        for name, each in value.items():
            _check(each, fields[name], f"{place}.{name}")
    elif isinstance(wanted, list):
        if not isinstance(value, list):
            raise ValueError(f"{place}: {value!r} is not a list")
        for index, each in enumerate(value):
            _check(each, wanted[0], f"{place}[{index}]")
    elif isinstance(wanted, tuple):
        if not isinstance(value, dict):
            raise ValueError(f"{place}: {value!r} is not a map")
        for key, each in value.items():
            _check(key, wanted[0], f"{place} key")
            # A quantity may be a number as well.
            each = str(each) if wanted is _RESOURCES else each
            _check(each, wanted[1], f"{place}.{key}")
    elif isinstance(wanted, set):
        if value not in wanted:
            raise ValueError(f"{place}: {value!r} is none of {wanted}")
    elif isinstance(wanted, re.Pattern):
        if not isinstance(value, str) or not wanted.fullmatch(value):
            raise ValueError(f"{place}: {value!r} is not like {wanted.pattern}")
    elif type(value) is not wanted:
        raise ValueError(f"{place}: {value!r} is no {wanted.__name__}")


def _fitting(jobset: dict, job: dict, pod: dict) -> None:
    """Refuses fields that do not go together, by the rules of the API server."""
    names = {each["name"] for each in pod["containers"]}
    volumes = {each["name"]: each for each in pod.get("volumes", [])}
    mounts = [m for each in pod["containers"] for m in each.get("volumeMounts", [])]
    if not {mount["name"] for mount in mounts} <= volumes.keys():
        raise ValueError("volumeMounts: Not found")
    if any(len(each) != 2 for each in volumes.values()):
        raise ValueError("volumes: exactly one type of volume")
    # JobSet's own webhook: the longest pod, with five random letters, is a DNS label.
    name, pods = jobset["metadata"]["name"], job["completions"] - 1
    if len(f"{name}-slice-{9}-{pods}-abcde") > 63 or "." in name:
        raise ValueError("metadata.name: too long for the names of pods")
    for rule in job.get("podFailurePolicy", {}).get("rules", []):
        if ("onExitCodes" in rule) == ("onPodConditions" in rule):
            raise ValueError("rules: exactly one of onExitCodes and onPodConditions")
        codes = rule.get("onExitCodes", {"values": [1]})
        if not {codes.get("containerName", *names)} <= names:
            raise ValueError("containerName: must be one of the container names")
        if 0 in codes["values"] or codes["values"] != sorted(set(codes["values"])):
            raise ValueError("values: ordered, unique and not 0")
        if pod["restartPolicy"] != "Never":
            raise ValueError("restartPolicy: only Never with podFailurePolicy")
    for toleration in pod.get("tolerations", []):
        if toleration.get("operator") == "Exists" and "value" in toleration:
            raise ValueError("tolerations: value must be empty when Exists")


def expanded(word: str) -> str:
    """A word of a command as its process gets it, where no variable is set."""
    return re.sub(r"\$(\$|\([\w.-]+\))", lambda m: "$" * (m[1] == "$"), word)


def after(jobset: dict, code: int, *conditions: str) -> str:
    """What JobSet does once a pod has ended, by the first rule that matches.

    The messages are those of the Job controller of Kubernetes, as quoted by JobSet's
    KEP 262 (2025-09).

    Args:
        code: what c3jax exited with.
        conditions: of the pod, such as DisruptionTarget.
    """
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    reason, message = "BackoffLimitExceeded", "Job has reached the specified limit"
    for index, rule in enumerate(job["podFailurePolicy"]["rules"]):
        exits = rule.get("onExitCodes", {"operator": "In", "values": []})
        ended = (code in exits["values"]) == (exits["operator"] == "In")
        types = [each["type"] for each in rule.get("onPodConditions", [])]
        matching = f"matching {rule['action']} rule at index {index}"
        met = [each for each in conditions if each in types]
        if met:
            reason = "PodFailurePolicy"
            message = f"Pod team/c3-slice-0-0-abcde has condition {met[0]} {matching}"
            break
        if ended and "onExitCodes" in rule:
            reason = "PodFailurePolicy"
            container = (
                f"Container {exits['containerName']} for pod team/c3-slice-0-0-a"
            )
            message = f"{container} failed with exit code {code} {matching}"
            break
    for rule in jobset["spec"]["failurePolicy"]["rules"]:
        patterns = rule.get("onJobFailureMessagePatterns", [""])
        if reason in rule.get("onJobFailureReasons", [reason]) and any(
            re.search(pattern, message) for pattern in patterns
        ):
            return rule["action"]
    return "RestartJobSet"
