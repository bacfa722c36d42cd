# shellcheck shell=bash disable=SC2034,SC2154 # of tpu_pod.sh, which also reads what is set here
# What tpu_pod.sh asks of gcloud, and for how long it waits. Sourced, never run.
#
# Sources, read in 2026-11:
# docs.cloud.google.com/sdk/gcloud/reference/compute/tpus/queued-resources and
# google-cloud-sdk-unofficial/google-cloud-sdk, lib/surface/compute/tpus.
#
# `queued-resources ssh --node=all` leaves out a node that it cannot prepare, says so and
# still exits 0. So every machine has to answer with a line of its own that begins with
# `worker`, and lines are counted.

scratch='' child='' machines=0 now='' fresh=no nodes='' seen=no answers=''
# Of ssh: of which slices, and how many seconds it may take.
node=all limit=300

# Prepares what the functions below need: the program, a place for answers.
prepare() {
    local tool
    dry && return
    for tool in gcloud timeout; do
        command -v "$tool" >/dev/null ||
            refuse "$tool is not installed ($([[ $tool == timeout ]] &&
                printf 'coreutils' || printf 'https://cloud.google.com/sdk'))"
    done
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    trap 'leave 129' HUP
    trap 'leave 130' INT
    trap 'leave 143' TERM
}

# leave CODE: ends this script, and what it waits for, because it was told to.
leave() {
    trap '' HUP INT TERM
    [[ -z $child ]] || kill "$child" 2>/dev/null || true
    [[ ! $verb =~ ^(create|resume|watch)$ ]] || say "ended by a signal. $(left_behind)"
    exit "$1"
}

left_behind() {
    printf '%s' "A slice that is there is paid for, and a request holds quota, until:" \
        " $(quoted "$0" delete "--name=$name" "${where[@]}")"
}

# within SECONDS COMMAND..: with a time limit. The command runs in the background, as bash
# hears a signal only between two commands, and in a group of its own, which ends as one.
within() {
    local code=0
    if dry; then
        run timeout "$@"
        return
    fi
    timeout --kill-after=10 "$@" </dev/null &
    child=$!
    wait "$child" || code=$?
    child=''
    ((code != 124)) || say "no end within $1 seconds: $(quoted "${@:2:6}") .."
    return "$code"
}

nap() {
    sleep "$1" &
    child=$!
    wait "$child"
    child=''
}

# queue VERB [FLAG..]: of the queued resource.
queue() {
    local limit=300
    [[ $1 == describe ]] || limit=1800
    within "$limit" "${tpus[@]}" queued-resources "$1" "$name" "${where[@]}" "${@:2}"
}

# The state of the request in `now`; NONE if there is none. Fails if nobody knows.
ask() {
    if dry; then
        queue describe '--format=value(state.state)'
    elif queue describe '--format=value(state.state)' \
        >"$scratch/now" 2>"$scratch/complaint"; then
        now=$(<"$scratch/now")
    elif grep -q NOT_FOUND "$scratch/complaint"; then
        now=NONE
    else
        cat "$scratch/complaint" >&2
        return 1
    fi
}

# Says why a request failed; $1 is what gcloud says.
explain() {
    say "the request was refused: ${1:-gcloud gives no reason}"
    if [[ ${1,,} == *quota* ]]; then
        say "quota: ask for more (IAM & Admin, Quotas, Cloud TPU API), or give back what" \
            "holds it, failed and suspended requests too:" \
            "$(quoted "${tpus[@]}" queued-resources list "${where[@]}")"
    fi
}

request() {
    local flags key
    if ((flag[slices] > 1)); then
        flags=("--node-count=${flag[slices]}" "--node-prefix=$name")
    else
        flags=("--node-id=$name")
    fi
    flags+=("--accelerator-type=${flag[accelerator]}" "--runtime-version=${flag[runtime]}")
    for key in reserved internal-ips; do
        [[ ${switch[$key]} == no ]] || flags+=("--$key")
    done
    # Alpha's --spot alone is sent as provisioningModel STANDARD (queued_resources/util.py).
    if [[ ${switch[spot]} == yes ]]; then
        [[ ${tpus[1]} == alpha ]] && flags+=(--provisioning-model=spot) || flags+=(--spot)
    fi
    [[ -z ${flag[flex-start]} ]] ||
        flags+=(--provisioning-model=flex-start "--max-run-duration=${flag[flex-start]}")
    for key in reservation network subnetwork labels service-account; do
        [[ -z ${flag[$key]} ]] || flags+=("--$key=${flag[$key]}")
    done
    flags+=("${create_flags[@]}")
    if dry; then
        queue create "${flags[@]}"
    elif ! queue create "${flags[@]}" 2>"$scratch/complaint"; then
        explain "$(<"$scratch/complaint")"
        return 1
    fi
}

# Sees to it that the slice is there; `fresh` says whether it was made just now.
create() {
    local begun=$SECONDS pause=$((flag[every] < 30 ? flag[every] : 30))
    fresh=no now=NONE
    ask || return 1
    while [[ $now != ACTIVE ]]; do
        case $now in
            NONE)
                request || return 1
                fresh=yes
                ;;
            FAILED)
                queue describe '--format=value(state.failedData.error.message)' \
                    >"$scratch/why" || true
                explain "$(<"$scratch/why")"
                # It would keep its quota.
                queue delete --force --quiet || return 1
                # A request that we made just now would fail again.
                [[ $fresh == no ]] || return 1
                ;;
            SUSPENDED)
                say "the slice was taken away: asking for another"
                queue delete --force --quiet || return 1
                ;;
            *) say "$now, $(((SECONDS - begun) / 60)) min" ;;
        esac
        if dry; then
            ask # again and again, until it says ACTIVE
            return
        fi
        nap "$pause"
        until ask; do nap "$pause"; done
    done
    say "$name is ACTIVE"
}

# What has become of the nodes, in `nodes`: ready, gone, or their states if that will
# pass; and how many machines they are, in `machines`. Fails if nobody knows. A node that
# never was there may have another name, and its slice must not be deleted for that.
# States: tpu/docs/reference/rest/v2/projects.locations.nodes (2026-11).
ask_nodes() {
    local index node state health count total=0 passing='' gone=''
    for ((index = 0; index < flag[slices]; index++)); do
        node=$name
        ((flag[slices] == 1)) || node+=-$index
        set -- within 300 "${tpus[@]}" tpu-vm describe "$node" "${where[@]}" \
            '--format=csv[no-heading](state,health,networkEndpoints.len())'
        if dry; then
            "$@"
            continue
        elif "$@" >"$scratch/node" 2>"$scratch/complaint"; then
            IFS=, read -r state health count <"$scratch/node" || return 1
        elif grep -q NOT_FOUND "$scratch/complaint"; then
            state=NOT_FOUND health='' count=0
        else
            cat "$scratch/complaint" >&2
            return 1
        fi
        total=$((total + ${count:-0}))
        case $state,$health in
            PREEMPTED,* | TERMINATED,* | UNKNOWN,*) gone+=", $node is $state" ;;
            READY,UNHEALTHY_MAINTENANCE) passing+=", $node is under maintenance" ;;
            READY,*) ;;
            NOT_FOUND,*)
                if [[ $seen == yes ]]; then
                    gone+=", $node is $state"
                else
                    passing+=", no node is called $node; --slices=N names several"
                fi
                ;;
            *) passing+=", $node is $state" ;;
        esac
    done
    machines=$total
    if [[ -n $gone ]]; then
        say "${gone:2}"
        nodes=gone
    elif [[ -n $passing ]]; then
        nodes=${passing:2}
    else
        nodes=ready seen=yes
    fi
}

# Sees to it that the slice is there and its nodes are ready.
settle() {
    create || return 1
    while ask_nodes; do
        case $nodes in
            ready) return ;;
            gone)
                say "asking for another slice"
                queue delete --force --quiet && create || return 1
                ;;
            *)
                say "waiting: $nodes"
                nap "${flag[every]}"
                ;;
        esac
    done
    return 1
}

# on WORKERS COMMAND: in the home directory of these workers of the nodes in `node`.
on() {
    within "$limit" "${tpus[@]}" queued-resources ssh "$name" "${where[@]}" \
        "--node=$node" "--worker=$1" --quiet "${route[@]}" \
        "${ssh_flags[@]/#/--ssh-flag=}" "--command=$2"
}

# everywhere COMMAND: on every machine. Its lines are in `answers`; fails unless all
# machines have answered.
everywhere() {
    local code=0 answered wanted=$((machines ? machines : 1))
    if dry; then
        on all "$1"
        return
    fi
    on all "$1" >"$scratch/answers" || code=$?
    grep -v '^worker ' "$scratch/answers" >&2 || true
    answers=$(grep '^worker ' "$scratch/answers" || true)
    answered=$(grep -c '^worker ' "$scratch/answers" || true)
    if ((answered < wanted)); then
        say "$answered of $wanted machines answered"
        return 1
    fi
    return "$code"
}

# send FILE NAME: to the home directory of every machine. `scp` has --scp-flag, not
# --ssh-flag.
send() {
    within 1800 "${tpus[@]}" queued-resources scp "$1" "$name:$2" "${where[@]}" \
        --node=all --worker=all --quiet "${route[@]}" "${ssh_flags[@]/#/--scp-flag=}"
}
