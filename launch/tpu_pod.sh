#!/usr/bin/env bash
# Runs c3jax on Cloud TPU slices: the same command on every machine.
#
#     launch/tpu_pod.sh watch --name=c3 --zone=ZONE --accelerator=v5p-64 --spot \
#         --nfs=HOST:/SHARE -- --config=configs/math.py --workdir=/mnt/c3jax/math
#
# create   asks for the slice (queued resources) and waits until it is there; one that is
#          there is used again, one that was preempted is replaced
# install  sends the commit to all machines, installs it and mounts what they share
# start    starts the command on all machines; what follows -- goes to c3jax.main. Refused
#          on a machine where what --nfs or --bucket names is not mounted
# resume   all three: makes the slice anew if it is gone, installs, starts; a run that is
#          going on is left alone
# watch    resume, and again whenever a worker died or the slice was taken away, until all
#          have finished. When one process dies JAX ends the others, so all are started
#          again, from the newest checkpoint. Two deaths in a row without a new checkpoint
#          end it, as with a mistake in the config. Stop watching before `stop`
# status   the state of the request, of the nodes and of every worker
# logs     follows the log of one worker
# stop     has all workers save and exit
# delete   gives the slice back; with it goes everything on its own disks
#
# The same command goes on with a run from its --workdir. More than one machine needs a
# workdir that all of them see: under --mount, on what --nfs or --bucket name. A workdir
# on one machine is accepted for slices of one machine, and is lost with it.
# The Cloud TPU API still serves all up to v6e, but is no longer developed; gke.sh lasts.
# NFS (Filestore) is a file system, mounted with vers=4.1,hard: a share must speak NFSv4.1
# (Filestore zonal, regional), as locks of NFSv3 outlive a machine that was taken away. A
# bucket is not quite one: make it with a hierarchical namespace, where a checkpoint gets
# its name at once; in others every file of it is copied. No locks between machines there,
# and the service account of the machines needs rights to it (--service-account).
#
# --name=NAME            of the queued resource and of its node
# --zone=ZONE            where
# --project=PROJECT      gcloud's own unless given
# --accelerator=TYPE     v5p-64, v6e-16, v5litepod-16, ..; v5litepod-8 and v6e-8 are one
#                        machine each, made for serving: they train, but are less
#                        available. Ironwood (tpu7x) is for gke.sh only
# --slices=1             so many of them in one run (multislice): nodes NAME-0, NAME-1, ..
#                        All commands of a run need it
# --runtime=VERSION      the image; fits the accelerator unless given
# --spot                 capacity that may be taken away at any time
# --reserved             of a reservation of the project
# --reservation=NAME     of this one (alpha)
# --flex-start=DURATION  such as 4h, for at most 7 days, then the slice is taken away and
#                        `watch` asks for another (alpha)
# --network=NAME, --subnetwork=NAME, --labels=KEY=VALUE,.., --service-account=EMAIL
#                        as gcloud has them
# --internal-ips         no external addresses; PyPI and GitHub must be reached by Cloud
#                        NAT, and the machines by one of the next two
# --tunnel-through-iap   reach machines by Identity-Aware Proxy, from anywhere
# --internal-ip          or by internal addresses, from their network
# --batch-size=N         reach so many machines at a time; gcloud's own is 64
# --create-flag=FLAG     one more flag of `queued-resources create`; may be repeated
# --ssh-flag=FLAG        one more flag of ssh and scp, without blanks; may be repeated
# --track=alpha          `gcloud alpha compute tpus ..`, for flags that only it has; needs
#                        `gcloud components install alpha`
# --ref=HEAD             the commit that is sent, the same one until this ends; changes
#                        not committed are not
# --bucket=BUCKET        a Cloud Storage bucket that is mounted on all machines
# --nfs=HOST:/SHARE      or an NFS share
# --mount=/mnt/c3jax     where
# --worker=0             for logs: which, or all
# --slice=0              for logs: of which slice
# --grace=300            for stop: seconds until what has not exited is killed
# --every=60             for watch: seconds between two looks; for create: at most these
# --restarts=20          for watch: after so many deaths of workers it gives up;
#                        preemptions are not counted
# --attempts=8           for watch: after so many requests or starts in a row that failed
#                        it gives up; pauses double, from --every to half an hour
# --dry-run              print the commands and do nothing
#
# Needs gcloud, GNU timeout, and `ssh-add ~/.ssh/google_compute_engine`: nothing is asked
# for a passphrase. What is installed is in requirements-tpu.lock, the same on all machines.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$0")/common.sh"
# shellcheck source-path=SCRIPTDIR source=accelerators.sh
source "$(dirname "$0")/accelerators.sh"
# shellcheck source-path=SCRIPTDIR source=tpu_queue.sh
source "$(dirname "$0")/tpu_queue.sh"

flag=(
    [name]="" [zone]="" [project]="" [accelerator]="" [slices]=1 [runtime]="" [ref]=HEAD
    [reservation]="" [flex-start]="" [network]="" [subnetwork]="" [labels]=""
    [service-account]="" [batch-size]="" [track]="" [bucket]="" [nfs]=""
    [mount]=/mnt/c3jax [worker]=0 [slice]=0 [grace]=300 [every]=60 [restarts]=20
    [attempts]=8
)
switch+=([spot]=no [reserved]=no [internal-ips]=no [tunnel-through-iap]=no [internal-ip]=no)
many=([create-flag]="" [ssh-flag]="")
parse "$@"
verb=$(choice create install start resume watch status logs stop delete)
need name 'NAME, what the slice is called'
need zone 'ZONE, where the slice is'
for number in grace every restarts; do count "$number" 0; done
for number in slices attempts; do count "$number" 1; done
name=${flag[name]} mount=${flag[mount]%/}
where=("--zone=${flag[zone]}")
[[ -z ${flag[project]} ]] || where+=("--project=${flag[project]}")
[[ -z ${flag[bucket]} || -z ${flag[nfs]} ]] || refuse "give --bucket or --nfs, not both"
flag[bucket]=${flag[bucket]#gs://}
root=$(cd "$(dirname "$0")/.." && pwd)

mapfile -t create_flags < <(printf '%s' "${many[create-flag]}")
for made in "${create_flags[@]}"; do
    [[ ! $made =~ ^--node-(id|count|prefix) ]] ||
        refuse "--create-flag=$made: nodes are called by --name and counted by --slices"
done
# The first value that ssh is given holds. A machine that is gone is to be noticed, and
# nobody is there to answer a question.
mapfile -t ssh_flags < <(printf '%s' "${many[ssh-flag]}")
ssh_flags+=(-oConnectTimeout=20 -oServerAliveInterval=15 -oBatchMode=yes)
route=()
[[ -z ${flag[batch-size]} ]] || route+=("--batch-size=${flag[batch-size]}")
[[ ${switch[tunnel-through-iap]} == no ]] || route+=(--tunnel-through-iap)
[[ ${switch[internal-ip]} == no ]] || route+=(--internal-ip)
[[ ${switch[tunnel-through-iap]}${switch[internal-ip]} != yesyes ]] ||
    refuse "give --tunnel-through-iap or --internal-ip, not both"

[[ ${flag[track]} =~ ^(alpha)?$ ]] ||
    refuse "--track=${flag[track]}: queued resources are in alpha or have no --track"
tpus=(gcloud compute tpus)
[[ -z ${flag[track]}${flag[reservation]}${flag[flex-start]} ]] || tpus=(gcloud alpha compute tpus)
tiers=${switch[spot]#no}${switch[reserved]#no}${flag[reservation]:+yes}${flag[flex-start]:+yes}
[[ $tiers =~ ^(yes)?$ ]] ||
    refuse "give one of --spot, --reserved, --reservation and --flex-start"

need_accelerator() {
    local type=${flag[accelerator]} image
    need accelerator 'TYPE, such as v5p-64 or v6e-16'
    [[ $type != tpu7x* ]] ||
        refuse "--accelerator=$type: the Cloud TPU API has no Ironwood; run it as nodes of" \
            "a GKE cluster: launch/gke.sh start --accelerator=tpu7x --topology=.."
    if [[ -z ${flag[runtime]} ]]; then
        image=$(tpu_row "$type") || refuse "add --runtime=VERSION, the image for $type"
        read -r _ _ _ image _ <<<"$image"
        flag[runtime]=$image
    fi
    tpu_advice "$type"
}

need_command() {
    local workdir advice
    need_rest 'what c3jax.main is to do, such as --config=configs/math.py'
    workdir=$(given workdir)
    advice="under $mount, on a share named by --nfs=HOST:/SHARE or --bucket=BUCKET"
    if [[ $workdir == gs://* ]]; then
        refuse "--workdir=$workdir is not a directory, which a run needs: say" \
            "--bucket=BUCKET, which is mounted at $mount, and --workdir=$mount/NAME. The" \
            "bucket should have a hierarchical namespace: there a checkpoint gets its" \
            "name at once, elsewhere by copying every file"
    elif [[ $workdir == "$mount"/* && -n ${flag[bucket]}${flag[nfs]} ]]; then
        return
    elif [[ $(machines_of "${flag[accelerator]}") == 1 && ${flag[slices]} == 1 ]]; then
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

# worker_does VERB [FLAG]: what worker.sh answers on every machine.
worker_does() {
    everywhere "if test -d c3jax-state; then cd c3jax && $(quoted launch/worker.sh "$1" \
        --state=../c3jax-state "--workdir=$(given workdir)" "${@:2}"); else echo worker \
\$(uname -n) none; fi"
}

# One commit for as long as this runs, under its own name: an older archive must not pass
# for it on a machine that was not reached.
install() {
    local commit archive setup=(launch/tpu_setup.sh "--mount=$mount") limit=1800
    if ! dry && [[ -n $(git -C "$root" status --porcelain --untracked-files=no) ]]; then
        say "note: changes that are not committed are not sent"
    fi
    commit=$(git -C "$root" rev-parse --verify --quiet "${flag[ref]}^{commit}") ||
        refuse "--ref=${flag[ref]} is not a commit of $root"
    flag[ref]=$commit
    archive=c3jax-${commit:0:12}.tar.gz
    [[ -z ${flag[bucket]} ]] || setup+=("--bucket=${flag[bucket]}")
    [[ -z ${flag[nfs]} ]] || setup+=("--nfs=${flag[nfs]}")
    run git -C "$root" archive --format=tar.gz "--output=${scratch:-/tmp}/$archive" \
        "$commit" &&
        send "${scratch:-/tmp}/$archive" "$archive" &&
        everywhere "mkdir -p c3jax c3jax-state && tar -xzf $archive -C c3jax && cd c3jax && \
$(quoted "${setup[@]}") && $(quoted launch/worker.sh status --state=../c3jax-state \
            "--workdir=$(given workdir)")"
}

start() {
    local command=(launch/worker.sh start --state=../c3jax-state)
    [[ -z ${flag[bucket]}${flag[nfs]} ]] || command+=("--mount=$mount")
    command+=(-- ../c3jax-venv/bin/python -m c3jax.main "${rest[@]}")
    everywhere "cd c3jax && $(quoted "${command[@]}")"
}

# What the workers do, in `doing`: running, finished, silent if some do not answer, or
# broken: some did not finish and do not run.
look() {
    doing=silent
    worker_does status || return 0
    if dry; then
        return
    elif [[ $answers =~ worker\ [^\ ]+\ (none|dead|exited\ [1-9]) ]]; then
        doing=broken
        printf '%s\n' "$answers" >&2
    elif [[ $answers =~ worker\ [^\ ]+\ running ]]; then
        doing=running
    else
        doing=finished
    fi
}

# Whoever calls this in a condition switches `set -e` off, hence the returns. `died` says
# that it is called because a worker died; `kept` is the newest checkpoint, and
# `fruitless` counts deaths in a row that left no newer one.
resume() {
    local newest
    settle || return 1
    if [[ $fresh == no ]]; then
        look
        case $doing in
            running)
                say "already running"
                return
                ;;
            silent) return 1 ;;
        esac
        worker_does stop --grace=60 || return 1
    else
        died=no
    fi
    install || return 1
    newest=$(sed -n 's/^.*, //p' <<<"$answers" | sort -u)
    if [[ $died == yes && $newest == "$kept" ]]; then
        ((++fruitless < 2)) || give_up "workers died twice without a new checkpoint" \
            "(${newest//$'\n'/, }); their logs say why: launch/tpu_pod.sh logs"
    else
        fruitless=0
    fi
    died=no kept=$newest
    start
}

# A request that holds nothing but quota is not left behind.
give_up() {
    say "gave up: $*"
    ask || now=unknown
    case $now in
        NONE) ;;
        FAILED | SUSPENDED) queue delete --force --quiet || say "$(left_behind)" ;;
        *) say "$(left_behind)" ;;
    esac
    exit 1
}

persist() {
    local failed=0 pause=${flag[every]}
    until resume; do
        ((++failed < flag[attempts])) ||
            give_up "${flag[attempts]} attempts in a row failed"
        say "attempt $failed of ${flag[attempts]} failed; again in $pause seconds"
        nap "$pause"
        pause=$((2 * pause < 1800 ? 2 * pause : 1800))
    done
}

watch() {
    local deaths=0 silent=0 died=no kept='' fruitless=0
    # Who types a command waits for its beginning, and can mend what is wrong.
    resume || give_up "the run did not begin"
    if dry; then
        look # every so often
        return
    fi
    while nap "${flag[every]}"; do
        if ! ask; then
            say "the state of the slice is not known; asking again"
            continue
        elif [[ $now != ACTIVE ]]; then
            say "the slice is $now"
            persist
            continue
        fi
        look
        case $doing in
            finished) break ;;
            running) silent=0 ;;
            *)
                if ! ask_nodes; then
                    say "the state of the nodes is not known; asking again"
                elif [[ $nodes == gone ]]; then
                    persist
                elif [[ $nodes != ready ]]; then
                    say "waiting: $nodes"
                elif [[ $doing == silent ]] && ((++silent < 3)); then
                    say "not all machines answer; asking again"
                else
                    silent=0
                    ((++deaths <= flag[restarts])) ||
                        give_up "workers died ${flag[restarts]} times and once more"
                    say "a worker died: restart $deaths of ${flag[restarts]}"
                    died=yes
                    persist
                fi
                ;;
        esac
    done
    say "finished. $(left_behind)"
}

case $verb in
    create | start | resume | watch) need_accelerator ;;
esac
case $verb in
    start | resume | watch) need_command ;;
esac
prepare
case $verb in
    create) create ;;
    install | start)
        ask_nodes
        "$verb"
        ;;
    resume)
        died=no kept='' fruitless=0
        resume
        ;;
    watch) watch ;;
    status)
        queue describe '--format=value(state.state)'
        ask_nodes
        dry || say "nodes: $nodes"
        worker_does status || true
        printf '%s' "${answers:+$answers$'\n'}"
        ;;
    logs)
        node=${flag[slice]}
        [[ ${flag[worker]} != all ]] || node=all
        limit=0
        on "${flag[worker]}" 'tail -n 100 -F c3jax-state/log'
        ;;
    stop)
        ask_nodes
        limit=$((flag[grace] + 300)) worker_does stop "--grace=${flag[grace]}"
        ;;
    delete) queue delete --force --quiet ;;
esac
