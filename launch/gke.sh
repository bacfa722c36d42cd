#!/usr/bin/env bash
# Runs c3jax on TPU slices of a GKE cluster: fills in gke_jobset.yaml and applies it.
#
#     launch/gke.sh start --name=c3 --image=IMAGE --accelerator=tpu-v5p-slice \
#         --topology=2x4x4 --claim=CLAIM -- --config=configs/math.py \
#         --workdir=/mnt/c3jax/math
#
# The cluster needs JobSet v0.10.1 or later and a node pool of the slice, or one for each
# slice; docs/scale.md has the commands.
#
# start    what follows -- goes to c3jax.main on every machine; when one fails or is
#          taken away all are started again, from the newest checkpoint. The same command
#          after `delete` goes on from there too. --dry-run prints the manifest.
# status   the JobSet and its pods
# logs     follows the log of process 0, which is the one that reports
# delete   has all machines save and exit, and waits until the JobSet is gone
#
# --name=NAME          of the JobSet
# --image=IMAGE        with the repository at /c3jax, such as launch/Dockerfile makes
# --accelerator=LABEL  of the nodes: tpu-v4-podslice, tpu-v5-lite-podslice (v5e),
#                      tpu-v5p-slice, tpu-v6e-slice or tpu7x, a chip of which is two
#                      devices to JAX
# --topology=TOPOLOGY  of a slice: 2x4 for v5e and v6e, 2x4x4 for the others
# --chips=N            on a machine. It follows from the topology, but for 2x4, which is
#                      one machine of 8 chips or two of 4, and for labels not named above
# --slices=1           how many slices make one run; if several, of several machines each
# --claim=CLAIM        a persistent volume claim, ReadWriteMany, such as of Filestore; it
#                      is mounted at /mnt/c3jax and the workdir must be on it
# --bucket=BUCKET      instead of a claim, by the Cloud Storage FUSE CSI driver: slower,
#                      unless the bucket has a hierarchical namespace. The service account
#                      must be let write to it
# --spot               on nodes that may be taken away at any time: pods get 15 seconds
# --privileged         lets the container open devices: without it chips of v6e and tpu7x
#                      may not be found (/dev/vfio). Autopilot refuses it
# --restarts=20        how often all are started again after a failure; nodes that are
#                      taken away are not counted, and a usage error (exit code 2) is final
# --cpu=N              processors each machine must have free; 16 a chip unless given
# --memory=SIZE        memory likewise, such as 128Gi; 32Gi a chip unless given
# --service-account=NAME  of Kubernetes, which may be one of Workload Identity
# --pull-secret=NAME   of the registry of the image
# --queue=NAME         a local queue of Kueue
# --priority-class=NAME   of the pods
# --label=KEY=VALUE    on the JobSet and its pods; may be repeated
# --env=NAME=VALUE     in the environment of c3jax; may be repeated
# --ttl=SECONDS        after which a JobSet that has ended is deleted; never unless given
# --namespace=NAME     kubectl's own unless given
# --dry-run            print the commands and do nothing
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$0")/common.sh"

flag=(
    [name]="" [image]="" [accelerator]="" [topology]="" [chips]="" [slices]=1
    [claim]="" [bucket]="" [restarts]=20 [cpu]="" [memory]="" [service-account]=""
    [pull-secret]="" [queue]="" [priority-class]="" [ttl]="" [namespace]=""
)
switch+=([spot]=no [privileged]=no)
many=([label]="" [env]="")
parse "$@"
verb=$(choice start status logs delete)
need name 'NAME, what the JobSet is called'
name=${flag[name]}
kubectl=(kubectl)
[[ -z ${flag[namespace]} ]] || kubectl+=("--namespace=${flag[namespace]}")
pods=jobset.sigs.k8s.io/jobset-name=$name

# Sets `chips` of a slice, `devices` that JAX makes of each, and the chips on a machine.
#
# Machine types of GKE: ct4p-hightpu-4t, ct5lp-hightpu-1t, 4t and 8t, ct5p-hightpu-4t,
# ct6e-standard-1t, 4t and 8t, tpu7x-standard-1t and 4t; one of 8t is a whole 2x4 slice.
# Sources, as read in 2026: docs.cloud.google.com/tpu/docs/v6e, "Supported configurations",
# and core/system_characteristics.py of github.com/AI-Hypercomputer/xpk.
measure() {
    local label=${flag[accelerator]} topology=${flag[topology]} axis='[1-9][0-9]*'
    local plane="^${axis}x$axis\$" cube="^${axis}x${axis}x$axis\$" shape like least=4
    devices=1
    case $label in
        tpu-v5-lite-podslice | tpu-v6e-slice) shape=$plane like=2x4 least=1 ;;
        tpu-v4-podslice | tpu-v5p-slice) shape=$cube like=2x4x4 ;;
        tpu7x) shape=$cube like=2x4x4 least=1 devices=2 ;;
        *)
            [[ -n ${flag[chips]} ]] ||
                refuse "--accelerator=$label is none of tpu-v4-podslice," \
                    "tpu-v5-lite-podslice, tpu-v5p-slice, tpu-v6e-slice and tpu7x; for" \
                    "another add --chips=N, of a machine"
            shape="$plane|$cube" like='2x4 or 2x4x4'
            ;;
    esac
    [[ $topology =~ $shape ]] ||
        refuse "--topology=$topology is not one of $label, which is like $like"
    chips=$((${topology//x/ * }))
    if [[ -z ${flag[chips]} ]]; then
        if [[ $shape == "$plane" ]] && ((chips == 8)); then
            refuse "--topology=$topology is one machine of 8 chips or two of 4: add" \
                "--chips=8 or --chips=4, whichever the node pool has"
        fi
        flag[chips]=$((chips == least ? least : 4))
    fi
    count chips 1
    ((chips % flag[chips] == 0)) ||
        refuse "--chips=${flag[chips]} does not divide the $chips chips of" \
            "--topology=$topology"
}

# A JSON string.
text() {
    local word=${1//\\/\\\\}
    printf '"%s"' "${word//\"/\\\"}"
}

# A JSON string in which Kubernetes finds no $(NAME) to replace.
literal() { text "${1//\$/'$$'}"; }

# What --label or --env said, each KEY=VALUE by the format $2 of a key and a value.
pairs() {
    local pair line='' write=text
    [[ $1 != env ]] || write=literal
    while IFS= read -r pair; do
        [[ $pair == ?*=* ]] || refuse "--$1=$pair is not KEY=VALUE"
        # shellcheck disable=SC2059 # The format is ours.
        line+=$(printf ", $2" "$(text "${pair%%=*}")" "$($write "${pair#*=}")")
    done < <(printf '%s' "${many[$1]}")
    printf '%s' "${line:2}"
}

# Sets `value` to what stands for each ${NAME} of the template; "" leaves out its line.
fill() {
    local word labels env command='' volume pod=''
    declare -gA value=(
        [NAME]=$(text "$name") [IMAGE]=$(text "${flag[image]}") [SLICES]=${flag[slices]}
        [ACCELERATOR]=$(text "${flag[accelerator]}") [VMS]=$((chips / flag[chips]))
        [TOPOLOGY]=$(text "${flag[topology]}") [CHIPS]=${flag[chips]} [SPOT]=NotIn
        [RESTARTS]=${flag[restarts]} [TTL]=${flag[ttl]}
        [CPU]=$(text "${flag[cpu]:-$((16 * flag[chips]))}")
        [MEMORY]=$(text "${flag[memory]:-$((32 * flag[chips]))Gi}")
        [HOST]='' [DNS]='' [PRIVILEGED]='' [CLAIM]='' [BUCKET]='' [ENV]='' [ACCOUNT]=''
        [SECRETS]='' [PRIORITY]='' [OWN]='' [POD]=''
    )
    [[ ${switch[spot]} == no ]] || value[SPOT]=In
    [[ ${switch[privileged]} == no ]] || value[PRIVILEGED]='{"privileged": true}'
    if ((flag[slices] > 1)); then
        # Slices talk to one another over the machines' own network.
        value[HOST]=true value[DNS]=ClusterFirstWithHostNet
    fi
    if [[ -n ${flag[claim]} ]]; then
        value[CLAIM]="{\"claimName\": $(text "${flag[claim]}")}"
    else
        # A checkpoint is complete once its directory has its name, which in a bucket may
        # mean that every file is copied: refused unless so many are allowed.
        volume="\"bucketName\": $(text "${flag[bucket]#gs://}"),"
        volume+=' "mountOptions": "implicit-dirs,rename-dir-limit=200000"'
        ((flag[slices] == 1)) || volume+=', "hostNetworkPodKSA": "true"'
        value[BUCKET]="{\"driver\": \"gcsfuse.csi.storage.gke.io\","
        value[BUCKET]+=" \"volumeAttributes\": {$volume}}"
        pod=', "annotations": {"gke-gcsfuse/volumes": "true"}'
    fi
    [[ -z ${flag[service-account]} ]] || value[ACCOUNT]=$(text "${flag[service-account]}")
    [[ -z ${flag[priority-class]} ]] || value[PRIORITY]=$(text "${flag[priority-class]}")
    [[ -z ${flag[pull-secret]} ]] ||
        value[SECRETS]="[{\"name\": $(text "${flag[pull-secret]}")}]"
    env=$(pairs env '{"name": %s, "value": %s}')
    [[ -z $env ]] || value[ENV]="[$env]"
    labels=$(pairs label '%s: %s')
    [[ -z $labels ]] || pod+=", \"labels\": {$labels}"
    [[ -z $pod ]] || value[POD]="{${pod:2}}"
    [[ -z ${flag[queue]} ]] ||
        labels+="${labels:+, }\"kueue.x-k8s.io/queue-name\": $(text "${flag[queue]}")"
    [[ -z $labels ]] || value[OWN]="{$labels}"
    for word in launch/worker.sh run --forward -- python -m c3jax.main "${rest[@]}"; do
        command+=", $(literal "$word")"
    done
    value[COMMAND]="[${command:2}]"
}

# Prints the template, filled in.
manifest() {
    local line filled
    while IFS= read -r line; do
        if [[ $line =~ ^(.*)\$\{([A-Z]+)\}(.*)$ ]]; then
            filled=${value[${BASH_REMATCH[2]}]}
            [[ -n $filled ]] || continue
            line=${BASH_REMATCH[1]}$filled${BASH_REMATCH[3]}
        fi
        printf '%s\n' "$line"
    done < <(sed '/^#/d' "$(dirname "$0")/gke_jobset.yaml")
}

start() {
    local workdir written word
    need image 'IMAGE, with the repository at /c3jax'
    need accelerator 'LABEL, such as tpu-v5p-slice'
    need topology 'TOPOLOGY, such as 2x4x4'
    [[ -n ${flag[claim]}${flag[bucket]} ]] ||
        refuse "add --claim=CLAIM, a persistent volume claim that all machines can write" \
            "to, or --bucket=BUCKET"
    [[ -z ${flag[claim]} || -z ${flag[bucket]} ]] ||
        refuse "--claim and --bucket are both to be mounted at /mnt/c3jax: give one"
    need_rest 'what c3jax.main is to do, such as --config=configs/math.py'
    measure
    count slices 1
    count restarts 0
    [[ -z ${flag[ttl]} ]] || count ttl 0
    ((flag[slices] == 1 || chips > flag[chips])) ||
        refuse "--slices=${flag[slices]}: GKE joins only slices of several machines, and" \
            "--topology=${flag[topology]} is one machine of ${flag[chips]} chips"
    workdir=$(given workdir)
    [[ $workdir == /mnt/c3jax/* ]] ||
        refuse "--workdir=${workdir:-runs/NAME} is lost with its pod; put it on the" \
            "claim or bucket: -- --workdir=/mnt/c3jax/NAME .."
    for word in "${flag[@]}" "${rest[@]}"; do
        [[ ! $word =~ [[:cntrl:]] ]] || refuse "an argument has a control character: $word"
    done
    fill
    written=$(manifest)
    say "${flag[slices]} x $((chips / flag[chips])) machines of ${flag[chips]} chips:" \
        "$((flag[slices] * chips * devices)) devices for config.mesh"
    if dry; then
        printf "%s <<'EOF'\n%s\nEOF\n" "$(quoted "${kubectl[@]}" apply --filename=-)" \
            "$written"
    else
        "${kubectl[@]}" apply --filename=- <<<"$written"
    fi
}

case $verb in
    start) start ;;
    status)
        run "${kubectl[@]}" get jobset "$name"
        run "${kubectl[@]}" get pods "--selector=$pods" --output=wide
        ;;
    logs)
        # Only process 0 writes to its log; `job/NAME` would follow any of the pods. With
        # a selector kubectl shows but ten lines of what was, unless told.
        pods+=,jobset.sigs.k8s.io/job-index=0,batch.kubernetes.io/job-completion-index=0
        run "${kubectl[@]}" logs --follow --tail=100 --container=c3jax "--selector=$pods"
        ;;
    # Deletes what the JobSet owns first, so that no pod saves or holds the lock of the
    # workdir once this returns.
    delete) run "${kubectl[@]}" delete jobset "$name" --cascade=foreground ;;
esac
