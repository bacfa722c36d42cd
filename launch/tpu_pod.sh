#!/usr/bin/env bash
# Runs c3jax on a Cloud TPU slice: the same command on every worker.
#
#     launch/tpu_pod.sh watch --name=c3 --zone=ZONE --accelerator=v5p-64 --spot \
#         --bucket=BUCKET -- --config=configs/math.py --workdir=/mnt/c3jax/math
#
# create   asks for the slice (queued resources) and waits until it is there; one that is
#          there is used again, one that was preempted is replaced
# install  sends the repository to all workers, installs it and mounts what they share
# start    starts the command on all workers; what follows -- goes to c3jax.main
# resume   all three: makes the slice anew if it is gone, installs, starts; a run that is
#          going on is left alone
# watch    resume, and again whenever a worker died or the slice was preempted, until all
#          have finished. When one process dies JAX ends the others, so all are started
#          again, from the newest checkpoint. Stop watching before `stop`.
# status   the state of the slice, and of every worker
# logs     follows the log of one worker
# stop     has all workers save and exit
# delete   gives the slice back; with it goes everything on its own disks
#
# The same command goes on with a run from its --workdir. A slice with several machines
# needs a workdir that all of them see: under --mount, on what --nfs or --bucket name. A
# workdir on one machine is accepted for slices of one machine, and is lost with it.
# NFS (Filestore) is a file system; a bucket is not quite: no locks between machines, and
# a checkpoint gets its name by copying, unless the bucket has a hierarchical namespace.
#
# --name=NAME            of the queued resource and of its node
# --zone=ZONE            where
# --project=PROJECT      gcloud's own unless given
# --accelerator=TYPE     v5litepod-8, v5p-64, v6e-16, ..
# --runtime=VERSION      the image; fits the accelerator unless given
# --spot                 capacity that may be taken away at any time
# --create-flag=FLAG     one more flag of `queued-resources create`; may be repeated
# --ssh-flag=FLAG        one more flag of `tpu-vm ssh` and `scp`; may be repeated
# --ref=HEAD             the commit that is sent; changes not committed are not
# --bucket=BUCKET        a Cloud Storage bucket that is mounted on all workers
# --nfs=HOST:/SHARE      or an NFS share
# --mount=/mnt/c3jax     where
# --worker=0             for logs: which, or all
# --grace=300            for stop: seconds until what has not exited is killed
# --every=60             for watch: seconds between two looks; for create: at most these
# --restarts=20          for watch: after so many deaths of workers it gives up;
#                        preemptions are not counted
# --dry-run              print the commands and do nothing
#
# Needs gcloud, and `ssh-add ~/.ssh/google_compute_engine` for slices of many machines.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$0")/common.sh"

flag=(
    [name]="" [zone]="" [project]="" [accelerator]="" [runtime]="" [ref]=HEAD
    [bucket]="" [nfs]="" [mount]=/mnt/c3jax [worker]=0 [grace]=300 [every]=60
    [restarts]=20
)
switch+=([spot]=no)
many=([create-flag]="" [ssh-flag]="")
parse "$@"
verb=$(choice create install start resume watch status logs stop delete)
need name 'NAME, what the slice is called'
need zone 'ZONE, where the slice is'
count grace 0
count every 0
count restarts 0
name=${flag[name]} mount=${flag[mount]%/}
where=("--zone=${flag[zone]}")
[[ -z ${flag[project]} ]] || where+=("--project=${flag[project]}")
mapfile -t create_flags < <(printf '%s' "${many[create-flag]}")
mapfile -t ssh_flags < <(printf '%s' "${many[ssh-flag]}")
[[ -z ${flag[bucket]} || -z ${flag[nfs]} ]] || refuse "give --bucket or --nfs, not both"
flag[bucket]=${flag[bucket]#gs://}
root=$(cd "$(dirname "$0")/.." && pwd)

single_host() {
    [[ ${flag[accelerator]} =~ ^((v5litepod|v6e)-[148]|(v2|v3|v4|v5p)-8)$ ]]
}

# Which image; gcloud's list is `gcloud compute tpus versions list`.
runtime() {
    case ${flag[accelerator]} in
        v2-* | v3-* | v4-*) printf tpu-ubuntu2204-base ;;
        v5litepod-*) printf v2-alpha-tpuv5-lite ;;
        v5p-*) printf v2-alpha-tpuv5 ;;
        v6e-*) printf v2-alpha-tpuv6e ;;
        *) refuse "add --runtime=VERSION, the image for ${flag[accelerator]}" ;;
    esac
}

need_accelerator() {
    need accelerator 'TYPE, such as v5litepod-8 or v5p-64'
    [[ -n ${flag[runtime]} ]] || flag[runtime]=$(runtime)
}

need_command() {
    local workdir advice
    need_rest 'what c3jax.main is to do, such as --config=configs/math.py'
    workdir=$(given workdir)
    advice="under $mount, on a share named by --nfs=HOST:/SHARE or --bucket=BUCKET"
    if [[ $workdir == gs://* ]]; then
        refuse "--workdir=$workdir is not a directory: say --bucket=BUCKET, which is" \
            "mounted at $mount, and --workdir=$mount/NAME"
    elif [[ $workdir == "$mount"/* && -n ${flag[bucket]}${flag[nfs]} ]]; then
        return
    elif single_host; then
        say "note: --workdir=${workdir:-runs/NAME} is on the disk of the machine, and" \
            "lost when it is deleted or preempted; to keep it, put it $advice"
    elif [[ $workdir == "$mount"/* ]]; then
        refuse "--workdir=$workdir: nothing is mounted at $mount; add" \
            "--nfs=HOST:/SHARE or --bucket=BUCKET"
    else
        refuse "--workdir=${workdir:-runs/NAME} is local to one of the machines of" \
            "${flag[accelerator]}; put it $advice: -- --workdir=$mount/NAME .."
    fi
}

# queue VERB [ARGUMENT..]
queue() { run gcloud compute tpus queued-resources "$1" "$name" "${where[@]}" "${@:2}"; }

# on WORKERS COMMAND: in the home directory of these workers.
on() {
    run gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" "--worker=$1" \
        "${ssh_flags[@]}" "--command=$2"
}

# The state of the request in `now`; NONE if there is none. Fails if nobody knows.
ask() {
    local complaint
    if dry; then
        queue describe '--format=value(state.state)'
        return
    fi
    complaint=$(mktemp)
    if now=$(queue describe '--format=value(state.state)' 2>"$complaint"); then
        rm "$complaint"
    elif grep -q NOT_FOUND "$complaint"; then
        rm "$complaint"
        now=NONE
    else
        cat "$complaint" >&2
        rm "$complaint"
        return 1
    fi
}

request() {
    local flags=(
        "--node-id=$name" "--accelerator-type=${flag[accelerator]}"
        "--runtime-version=${flag[runtime]}"
    )
    [[ ${switch[spot]} == no ]] || flags+=(--spot)
    queue create "${flags[@]}" "${create_flags[@]}"
}

# Sees to it that the slice is there; `fresh` says whether it was made just now.
create() {
    local begun=$SECONDS pause
    fresh=no now=NONE
    ask || return 1
    while [[ $now != ACTIVE ]]; do
        case $now in
            NONE)
                request || return 1
                fresh=yes
                ;;
            FAILED | SUSPENDED)
                # A request that we made just now and that failed will fail again.
                if [[ $fresh == yes ]]; then
                    queue describe >&2
                    say "the request failed"
                    return 1
                fi
                say "the slice is gone ($now): asking for another"
                queue delete --force --quiet || return 1
                now=NONE
                continue
                ;;
            *) say "$now, $(((SECONDS - begun) / 60)) min" ;;
        esac
        if dry; then
            ask # again and again, until it says ACTIVE
            return
        fi
        pause=$((flag[every] < 30 ? flag[every] : 30))
        sleep "$pause"
        until ask; do sleep "$pause"; done
    done
    say "$name is ACTIVE"
}

install() {
    local archive="${TMPDIR:-/tmp}/c3jax-$name.tar.gz" setup=(c3jax/launch/tpu_setup.sh)
    if ! dry && [[ -n $(git -C "$root" status --porcelain --untracked-files=no) ]]; then
        say "note: changes that are not committed are not sent"
    fi
    [[ -z ${flag[bucket]} ]] || setup+=("--bucket=${flag[bucket]}" "--mount=$mount")
    [[ -z ${flag[nfs]} ]] || setup+=("--nfs=${flag[nfs]}" "--mount=$mount")
    run git -C "$root" archive --format=tar.gz "--output=$archive" "${flag[ref]}" &&
        run gcloud compute tpus tpu-vm scp "$archive" "$name:c3jax.tar.gz" \
            "${where[@]}" --worker=all "${ssh_flags[@]}" &&
        on all "mkdir -p c3jax && tar -xzf c3jax.tar.gz -C c3jax && $(quoted "${setup[@]}")"
}

start() {
    on all "cd c3jax && $(quoted launch/worker.sh start --state=../c3jax-state -- \
        ../c3jax-venv/bin/python -m c3jax.main "${rest[@]}")"
}

# worker_does VERB [FLAG]: on workers that never started anything, nothing.
worker_does() {
    on all "test ! -d c3jax-state || $(quoted c3jax/launch/worker.sh "$1" \
        --state=c3jax-state "${@:2}")"
}

# What the workers do, in `doing`: running, finished, or broken: some did not finish and
# do not run. Fails if one cannot be asked.
look() {
    local lines
    if dry; then
        worker_does status
        return
    fi
    lines=$(worker_does status) || return 1
    if [[ ! $lines =~ worker\ [^\ ]+\ (running|exited\ 0) ||
        $lines =~ worker\ [^\ ]+\ (none|dead|exited\ [1-9]) ]]; then
        doing=broken
        printf '%s' "${lines:+$lines$'\n'}" >&2
    elif [[ $lines =~ worker\ [^\ ]+\ running ]]; then
        doing=running
    else
        doing=finished
    fi
}

# Whoever calls this in a condition switches `set -e` off, hence the returns.
resume() {
    doing=broken
    create || return 1
    if [[ $fresh == no ]]; then
        look || return 1
        if [[ $doing == running ]]; then
            say "already running"
            return
        fi
        worker_does stop --grace=60 || return 1
    fi
    install && start
}

watch() {
    local deaths=0 silent=0
    resume
    if dry; then
        look # every so often
        return
    fi
    while sleep "${flag[every]}"; do
        if ! ask; then
            say "the state of the slice is not known; asking again"
        elif [[ $now != ACTIVE ]]; then
            say "the slice is $now"
            resume || say "not yet; trying again"
        elif ! look && ((++silent < 3)); then
            say "not all workers answer; asking again"
        elif ((silent < 3)) && [[ $doing != broken ]]; then
            silent=0
            [[ $doing != finished ]] || break
        else
            silent=0
            if ((++deaths > flag[restarts])); then
                say "gave up after ${flag[restarts]} restarts"
                return 1
            fi
            say "a worker died: restart $deaths of ${flag[restarts]}"
            { worker_does stop --grace=60 && start; } || say "not yet; trying again"
        fi
    done
    say "finished"
}

case $verb in
    create)
        need_accelerator
        create
        ;;
    start)
        need_accelerator
        need_command
        start
        ;;
    resume | watch)
        need_accelerator
        need_command
        "$verb"
        ;;
    install) install ;;
    status)
        queue describe '--format=value(state.state)'
        worker_does status
        ;;
    logs) on "${flag[worker]}" 'tail -n 100 -F c3jax-state/log' ;;
    stop) worker_does stop "--grace=${flag[grace]}" ;;
    delete) queue delete --force --quiet ;;
esac
