#!/usr/bin/env bash
# Runs c3jax on a TPU slice of a GKE cluster: fills in gke_jobset.yaml and applies it.
#
#     launch/gke.sh start --name=c3 --image=IMAGE --accelerator=tpu-v5p-slice \
#         --topology=2x4x4 --claim=CLAIM -- --config=configs/math.py \
#         --workdir=/mnt/c3jax/math
#
# start    what follows -- goes to c3jax.main on every machine of the slice; when one
#          fails or is taken away all are started again, from the newest checkpoint. The
#          same command after `delete` goes on from there too.
# status   the JobSet and its pods
# logs     follows the log of the first machine
# delete   has all machines save and exit, and removes the JobSet
#
# --name=NAME          of the JobSet
# --image=IMAGE        with the repository at /c3jax, such as launch/Dockerfile makes
# --accelerator=LABEL  of the nodes: tpu-v5-lite-podslice, tpu-v5p-slice, ..
# --topology=TOPOLOGY  of the slice: 2x4, 2x4x4, ..
# --chips=4            on each machine; 8 for a v5e-8 of one machine
# --claim=CLAIM        a persistent volume claim, ReadWriteMany, such as of Filestore; it
#                      is mounted at /mnt/c3jax and the workdir must be on it
# --spot               on nodes that may be taken away at any time
# --restarts=20        how often all are started again
# --namespace=NAME     kubectl's own unless given
# --dry-run            print the commands and do nothing
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$0")/common.sh"

flag=(
    [name]="" [image]="" [accelerator]="" [topology]="" [chips]=4 [claim]=""
    [restarts]=20 [namespace]=""
)
switch+=([spot]=no)
parse "$@"
verb=$(choice start status logs delete)
need name 'NAME, what the JobSet is called'
name=${flag[name]}
kubectl=(kubectl)
[[ -z ${flag[namespace]} ]] || kubectl+=("--namespace=${flag[namespace]}")

# A JSON list of strings, in which Kubernetes finds no $(NAME) to replace.
json() {
    local word line=''
    for word in "$@"; do
        [[ ! $word =~ [[:cntrl:]] ]] || refuse "an argument has a control character: $word"
        word=${word//\\/\\\\}
        word=${word//\$/'$$'}
        line+=", \"${word//\"/\\\"}\""
    done
    printf '[%s]' "${line:2}"
}

# Prints the template with every ${NAME} replaced.
manifest() {
    local text key chips
    local -A value=(
        [NAME]=$name [IMAGE]=${flag[image]} [ACCELERATOR]=${flag[accelerator]}
        [TOPOLOGY]=${flag[topology]} [CHIPS]=${flag[chips]} [CLAIM]=${flag[claim]}
        [RESTARTS]=${flag[restarts]} [SPOT]=NotIn
    )
    [[ ${switch[spot]} == no ]] || value[SPOT]=In
    chips=$((${flag[topology]//x/ * }))
    value[VMS]=$((chips / flag[chips]))
    value[COMMAND]=$(json launch/worker.sh run --forward -- python -m c3jax.main "${rest[@]}")
    text=$(sed '/^#/d' "$(dirname "$0")/gke_jobset.yaml")
    for key in "${!value[@]}"; do
        # Last, as arguments may hold what looks like a name.
        [[ $key == COMMAND ]] || text=${text//"\${$key}"/"${value[$key]}"}
    done
    printf '%s\n' "${text//"\${COMMAND}"/"${value[COMMAND]}"}"
}

start() {
    local workdir text chips
    need image 'IMAGE, with the repository at /c3jax'
    need accelerator 'LABEL, such as tpu-v5p-slice'
    need topology 'TOPOLOGY, such as 2x4x4'
    need claim 'CLAIM, a persistent volume claim that all machines can write to'
    need_rest 'what c3jax.main is to do, such as --config=configs/math.py'
    count chips 1
    count restarts 0
    [[ ${flag[topology]} =~ ^[1-9][0-9]*(x[1-9][0-9]*){1,2}$ ]] ||
        refuse "--topology=${flag[topology]} is not like 2x4 or 2x4x4"
    chips=$((${flag[topology]//x/ * }))
    ((chips % flag[chips] == 0)) ||
        refuse "--chips=${flag[chips]} does not divide the $chips chips of" \
            "--topology=${flag[topology]}"
    workdir=$(given workdir)
    [[ $workdir == /mnt/c3jax/* ]] ||
        refuse "--workdir=${workdir:-runs/NAME} is lost with its pod; put it on the" \
            "claim: -- --workdir=/mnt/c3jax/NAME .."
    text=$(manifest)
    if dry; then
        printf "%s <<'EOF'\n%s\nEOF\n" "$(quoted "${kubectl[@]}" apply --filename=-)" "$text"
    else
        "${kubectl[@]}" apply --filename=- <<<"$text"
    fi
}

case $verb in
    start) start ;;
    status)
        run "${kubectl[@]}" get jobset "$name"
        run "${kubectl[@]}" get pods "--selector=jobset.sigs.k8s.io/jobset-name=$name" \
            --output=wide
        ;;
    logs) run "${kubectl[@]}" logs --follow "job/$name-slice-0" ;;
    delete) run "${kubectl[@]}" delete jobset "$name" ;;
esac
