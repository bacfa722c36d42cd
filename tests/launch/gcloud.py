"""A stand-in for `gcloud compute tpus` that refuses what the real one refuses.

Flags: docs.cloud.google.com/sdk/gcloud/reference/[alpha/]compute/tpus/ of
queued-resources/{create,delete,describe,ssh,scp} and tpu-vm/describe, of 2026-11-28;
what excludes what, and exit codes: google-cloud-sdk-unofficial/google-cloud-sdk at
9c300a6 (lib/surface/compute/tpus/queued_resources/create.yaml) and 01f043c
(lib/googlecloudsdk/command_lib/compute/tpus: queued_resources/util.py, tpu_vm/ssh.py).
Queued resources have no beta. What the cloud answers is told in sequences; the last
answer of one stays.
"""

import dataclasses
import pathlib
import re
import shlex

from tests.launch import support

# Flags of every command.
_WIDE = "--format --project --quiet"
_SSH = """--batch-size --dry-run --force-key-file-overwrite --internal-ip --node --plain
    --ssh-key-expiration --ssh-key-expire-after --ssh-key-file
    --strict-host-key-checking --tunnel-through-iap --worker --zone"""
_CREATE = """--accelerator-type --async --boot-disk --data-disk --description
    --guaranteed --internal-ips --labels --metadata --metadata-from-file --network
    --node-count
    --node-id --node-prefix --range --reservation-host-folder
    --reservation-host-organization --reservation-host-project --reserved
    --runtime-version --scopes --service-account --shielded-secure-boot --spot
    --subnetwork --tags --topology --type --valid-after-duration --valid-after-time
    --valid-until-duration --valid-until-time --zone"""
_ALPHA_CREATE = """--autocheckpoint-enabled --best-effort --max-run-duration
    --network-config --provisioning-model --reservation --workload-type"""
FLAGS = {
    "queued-resources create": _CREATE,
    "queued-resources delete": "--async --force --zone",
    "queued-resources describe": "--zone",
    "queued-resources ssh": _SSH + " --command --output-directory --ssh-flag",
    "queued-resources scp": _SSH + " --compress --recurse --scp-flag",
    "tpu-vm describe": "--zone",
}
ALPHA = {"queued-resources create": _ALPHA_CREATE}
# Of each pair, one at most.
EXCLUSIVE = """--node-id/--node-count --node-id/--node-prefix
    --internal-ip/--tunnel-through-iap --network-config/--network
    --network-config/--internal-ips --reservation/--reservation-host-project"""

_PROGRAM = r"""#!/bin/bash
cd "$(dirname "$0")/cloud"
printf '%s\n' "$(printf '%q ' "$@")" >>../calls
fail() { echo "ERROR: (gcloud) $1" >&2; exit "${2:-1}"; }
next() {
    mapfile -t lines <"$1"
    echo "${lines[0]}"
    ((${#lines[@]} == 1)) || printf '%s\n' "${lines[@]:1}" >"$1"
}
declare -A has
track=ga
[[ $1 != alpha ]] || { track=alpha; shift; }
[[ "$1 $2" == "compute tpus" ]] || fail "Invalid choice: '$1'." 2
command="$3 $4"
[[ -e flags/$command ]] || fail "Invalid choice: '$command'." 2
known=" $(<"flags/$command") "
[[ $track == ga || ! -e "alpha/$command" ]] || known+=" $(<"alpha/$command") "
for word in "${@:5}"; do
    [[ $word == --* ]] || continue
    [[ $known == *" ${word%%=*} "* ]] || fail "unrecognized arguments: ${word%%=*}" 2
    has[${word%%=*}]=${word#*=}
done
for pair in $(<exclusive); do
    [[ ! -v has[${pair%/*}] || ! -v has[${pair#*/}] ]] ||
        fail "argument ${pair%/*}: At most one of $pair can be specified." 2
done
[[ -v has[--zone] ]] || fail "The [--zone] resource is not properly specified." 2
case $command in
    *create)
        [[ -v has[--node-id] || ${has[--node-count]-1} -gt 1 ]] ||
            fail 'Exactly one of (--node-id | --node-count > 1) must be specified.' 2
        [[ -v has[--accelerator-type] && -v has[--runtime-version] ]] ||
            fail 'argument --accelerator-type --runtime-version: Must be specified.' 2
        refusal=$(next refusals)
        [[ -z $refusal ]] || fail "$refusal" ;;
    queued*describe)
        [[ ${has[--format]} != *failedData* ]] || { echo "$(<why)"; exit; }
        state=$(next requests)
        [[ $state != NONE ]] || fail 'NOT_FOUND: Requested entity was not found'
        echo "$state" ;;
    tpu-vm*)
        state=$(next nodes)
        [[ $state != NONE ]] || fail 'NOT_FOUND: Requested entity was not found'
        echo "$state" ;;
    *ssh)
        [[ -v has[--command] ]] || fail 'argument --command: Must be specified.' 2
        case ${has[--command]} in
            *tpu_setup.sh*) answers=installs ;;
            *'worker.sh start'*) answers=starts ;;
            *'worker.sh stop'*) answers=stops ;;
            *) answers=looks ;;
        esac
        said=$(next $answers)
        [[ $said != hang ]] || exec sleep 60
        echo 'Using ssh batch size of 64.' >&2
        # `|` stands between lines, `!` before what a machine exits with.
        lines=${said%%!*}
        [[ -z $lines ]] || echo "${lines//|/$'\n'}"
        [[ $said != *!* ]] || exit "${said##*!}" ;;
esac
"""


# A checkout with one commit, which is packed at once.
_GIT = "#!/bin/bash\n[[ $3 != rev-parse ]] || printf '%040d' 7\n"


def workers(*said):
    """What machines answer, one after the other, such as `running, no checkpoint`."""
    return "|".join(f"worker w-{index} {what}" for index, what in enumerate(said))


@dataclasses.dataclass
class Cloud:
    """What the cloud answers, each a sequence.

    requests: the state of the queued resource; NONE if there is none.
    nodes: state,health,machines of the next node that is asked for; NONE if there is
        none.
    looks, installs, starts, stops: what the machines answer to the status of workers,
        an installation, a start, a stop; "hang" never ends.
    refusals: what `create` says of a request; "" if it takes it.
    why: the message of a request that failed.
    """

    requests: tuple = ("NONE", "ACTIVE")
    nodes: tuple = ("READY,HEALTHY,2",)
    looks: tuple = (workers(*["exited 0, newest of checkpoints is 9"] * 2),)
    installs: tuple = (workers(*["none, no checkpoint"] * 2),)
    starts: tuple = (workers(*["running, no checkpoint"] * 2),)
    stops: tuple = (workers(*["exited 143, no checkpoint"] * 2),)
    refusals: tuple = ("",)
    why: tuple = ("",)

    def beside(self, directory: pathlib.Path) -> dict:
        """The environment in which this cloud is there."""
        cloud = directory / "cloud"
        for where, table in (("flags", FLAGS), ("alpha", ALPHA)):
            (cloud / where).mkdir(parents=True)
            for command, flags in table.items():
                words = " ".join(f"{flags} {_WIDE}".split())
                (cloud / where / command).write_text(words)
        (cloud / "exclusive").write_text(EXCLUSIVE)
        for field in dataclasses.fields(self):
            lines = "".join(f"{line}\n" for line in getattr(self, field.name))
            (cloud / field.name).write_text(lines)
        for name, program in (("gcloud", _PROGRAM), ("git", _GIT)):
            (directory / name).write_text(program)
            (directory / name).chmod(0o755)
        return support.beside(directory)


def calls(directory: pathlib.Path) -> list[list[str]]:
    """The arguments of every call that was made."""
    return [shlex.split(line) for line in (directory / "calls").open()]


def steps(directory: pathlib.Path) -> list[str]:
    """The calls in a word each, without those that ask for a state."""
    words = []
    for call in calls(directory):
        line = " ".join(call)
        if found := re.search(r"(tpu_setup|worker)\.sh (start|stop|status)?", line):
            words.append("install" if found[1] == "tpu_setup" else found[2])
        elif found := re.search(r"queued-resources (create|delete|scp)", line):
            words.append(found[1])
    return words
