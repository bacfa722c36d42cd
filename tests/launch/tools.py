"""Stand-ins for kubectl and SLURM that refuse what the real tools refuse.

Runs without any package, as a stand-in is this file.
"""

import json
import os
import pathlib
import re
import sys

from tests.launch import support

# Flags by command: `name=` needs a value, `name[=` may have one, `name` has none. Those
# of kubectl are from `kubectl COMMAND --help` and `kubectl options` of 1.32.4, those of
# SLURM from the manual pages of 22.05.8, which Debian 12 has; read in November 2026.
_GLOBAL = """
as-group= as-uid= as= cache-dir= certificate-authority= client-certificate= client-key=
cluster= context= disable-compression insecure-skip-tls-verify kubeconfig=
log-flush-frequency= match-server-version namespace= password= profile-output= profile=
request-timeout= server= tls-server-name= token= user= username= v= vmodule=
warnings-as-errors"""
_JOB = """
account= acctg-freq= bb= bbf= begin= chdir= cluster-constraint= clusters= comment=
constraint= container= contiguous core-spec= cores-per-socket= cpu-freq= cpus-per-gpu=
cpus-per-task= deadline= delay-boot= dependency= distribution= error= exclude=
exclusive[= export= extra-node-info= gid= gpu-bind= gpu-freq= gpus-per-node=
gpus-per-socket= gpus-per-task= gpus= gres-flags= gres= help hint= hold input= job-name=
licenses= mail-type= mail-user= mcs-label= mem-bind= mem-per-cpu= mem-per-gpu= mem=
mincpus= network= nice[= no-kill[= nodefile= nodelist= nodes= ntasks-per-core=
ntasks-per-gpu= ntasks-per-node= ntasks-per-socket= ntasks= open-mode= output=
overcommit oversubscribe partition= power= prefer= priority= profile= propagate[= qos=
quiet reboot reservation= signal= sockets-per-node= spread-job switches= test-only
thread-spec= threads-per-core= time-min= time= tmp= uid= usage use-min-nodes verbose
version wckey="""
FLAGS = {
    "kubectl apply": """
all allow-missing-template-keys cascade= dry-run= field-manager= filename= force
force-conflicts grace-period= kustomize= openapi-patch output= overwrite prune
prune-allowlist= recursive selector= server-side show-managed-fields subresource=
template= timeout= validate= wait""",
    "kubectl get": """
all-namespaces allow-missing-template-keys chunk-size= field-selector= filename=
ignore-not-found kustomize= label-columns= no-headers output-watch-events output= raw=
recursive selector= server-print show-kind show-labels show-managed-fields sort-by=
subresource= template= watch watch-only""",
    "kubectl logs": """
all-containers all-pods container= follow ignore-errors insecure-skip-tls-verify-backend
limit-bytes= max-log-requests= pod-running-timeout= prefix previous selector=
since-time= since= tail= timestamps""",
    "kubectl delete": """
all all-namespaces cascade= dry-run= field-selector= filename= force grace-period=
ignore-not-found interactive kustomize= now output= raw= recursive selector= timeout=
wait""",
    "sbatch": f"""{_JOB}
array= batch= export-file= get-user-env[= ignore-pbs kill-on-invalid-dep= no-requeue
parsable requeue wait wait-all-nodes= wrap=""",
    "srun": f"""{_JOB}
accel-bind= bcast-exclude= bcast[= compress[= disable-status epilog= exact het-group=
immediate[= jobid= kill-on-bad-exit[= label mpi= msg-timeout= multi-prog no-allocate
overlap preserve-env prolog= pty quit-on-interrupt relative= resv-ports[= send-libs[=
slurmd-debug= task-epilog= task-prolog= threads= unbuffered wait= x11[=""",
    "squeue": """
account= all array array-unique clusters= federation format= help hide iterate= jobs=
json licenses= local long me name= noconvert nodelist= noheader partition= priority qos=
reservation= sibling sort= start states= steps usage user= verbose version yaml""",
    "scancel": """
account= batch clusters= ctld full help hurry interactive jobname= me name= nodelist=
partition= qos= quiet reservation= sibling= signal= state= usage user= verbose version
wckey=""",
    "scontrol requeue": """
all clusters= details federation future help hide local oneliner quiet sibling uid=
verbose version""",
}
_LABELS = r"[\w./-]+=[\w.-]+(,[\w./-]+=[\w.-]+)*"
# What a value must look like, of the flags that our scripts give.
_VALUES = {
    "cascade": "background|orphan|foreground",
    "selector": _LABELS,
    "tail": r"-?\d+",
    "gpus-per-node": r"(\w+:)?\d+",
    "gres": r"\w+(:[\w.-]+)?(:\d+[kmgtp]?)?(,\w+(:[\w.-]+)?(:\d+)?)*",
    "kill-on-bad-exit": "[01]",
    "mem": r"\d+[KMGT]?",
    "nodes": r"\d+(-\d+)?",
    "ntasks-per-node": r"\d+",
    "open-mode": "append|truncate",
    "time": r"\d+|\d+:\d\d(:\d\d)?|\d+-\d+(:\d\d){0,2}",
    "wait": r"\d+",
}
_SIGNAL = r"[A-Z]+[12]?(@\d{1,5})?"
_SENT = {
    "sbatch": rf"([RB]:)?{_SIGNAL}",
    "srun": rf"(R:)?{_SIGNAL}",
    "scancel": r"[A-Z12]+",
}


def read(words: list[str]) -> tuple[str, dict[str, str], list[str]]:
    """Reads a command as its tool would.

    Returns:
        Tool and verb; flags with their values, "" for none; what is not a flag.

    Raises:
        ValueError: the tool would refuse the command.
    """
    tool, words = words[0], list(words[1:])
    flags, rest = {}, []
    if tool in ("kubectl", "scontrol"):
        verb = next((word for word in words if word[:1] != "-"), "")
        words.remove(verb)
        tool = f"{tool} {verb}"
    if tool not in FLAGS:
        raise ValueError(f"unknown command: {tool}")
    kubectl = tool.startswith("kubectl")
    known = FLAGS[tool].split() + (_GLOBAL.split() if kubectl else [])
    kinds = {word.rstrip("[="): word[len(word.rstrip("[=")) :] for word in known}
    while words:
        word = words.pop(0)
        # srun and sbatch take what follows their command for its own.
        if word[:2] != "--":
            own = tool in ("srun", "sbatch")
            rest += [word, *(words if own else [])]
            words = [] if own else words
            continue
        name, equals, value = word[2:].partition("=")
        if name not in kinds:
            raise ValueError(f"unrecognized option '--{name}'")
        if kinds[name] == "=" and not equals:
            if not words:
                raise ValueError(f"option '--{name}' requires an argument")
            value = words.pop(0)
        bare = kinds[name] == "" and not (kubectl and value in ("true", "false"))
        if bare and equals:
            raise ValueError(f"option '--{name}' doesn't allow an argument")
        form = _SENT[tool] if name == "signal" else _VALUES.get(name)
        if form and value and not re.fullmatch(form, value):
            raise ValueError(f"invalid value of --{name}: {value}")
        flags[name] = value
    _fitting(tool, flags, rest)
    return tool, flags, rest


def _fitting(tool: str, flags: dict[str, str], rest: list[str]) -> None:
    """Refuses arguments that do not go together."""
    if tool == "sbatch" and ("wrap" in flags) == bool(rest):
        raise ValueError("a script or --wrap, and not both")
    if tool == "kubectl logs" and ("selector" in flags) == bool(rest):
        raise ValueError("a pod or a selector, and not both")
    if tool == "kubectl delete" and not rest:
        raise ValueError("what to delete")
    if tool == "srun" and not rest:
        raise ValueError("nothing to run")


def stand_in(directory, name, script=""):
    """A program of that name which reads its arguments, notes them and runs bash."""
    path = directory / name
    path.write_text(
        f"#!{sys.executable} -IS\n"
        f"import sys; sys.path.insert(0, {str(support.ROOT)!r})\n"
        "from tests.launch import tools\n"
        f"tools.note({script!r})\n"
    )
    path.chmod(0o755)


def note(script: str) -> None:
    """What a stand-in does, in the directory where it lies."""
    path = pathlib.Path(sys.argv[0])
    words = [path.name, *sys.argv[1:]]
    try:
        read(words)
    except ValueError as error:
        sys.exit(f"{path.name}: {error}")
    os.chdir(path.parent)
    with pathlib.Path("calls").open("a") as file:
        file.write(json.dumps(words) + "\n")
    os.execv("/bin/bash", ["bash", "-c", script, *words])


def calls(directory) -> list[list[str]]:
    """The commands that stand-ins in a directory were given."""
    lines = (directory / "calls").read_text().splitlines()
    return [json.loads(line) for line in lines]
