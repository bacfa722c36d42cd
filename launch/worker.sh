#!/usr/bin/env bash
# Runs the command of one worker; the other launch scripts start it on every machine.
#
#     launch/worker.sh run [--forward] -- COMMAND [ARGUMENT..]
#     launch/worker.sh start --state=DIR [--mount=DIR] -- COMMAND [ARGUMENT..]
#     launch/worker.sh status|stop --state=DIR [--workdir=DIR]
#
# Exits with the code of the command, but for one case: c3jax saves and exits 0 when
# SIGTERM asks it to stop, and this then exits 143, so that a run that was stopped is not
# taken for one that is finished. A command that c3jax refuses before it does anything
# exits 2: it would be refused again.
#
# run      in the foreground
# start    in the background, in a session of its own; refused while one is running, and
#          where --mount is not mounted: a machine that was started anew has lost its
#          mounts, and the run would begin at its first step, on a disk of its own
# status   prints one line: worker HOST running, exited CODE, dead (killed, or the
#          machine was started anew) or none; then the newest checkpoint of the run
# stop     asks the command to save and exit, and kills it after --grace
#
# --state=DIR    log, pids and exit code go here: the log grows, the rest is of the newest
# --mount=DIR    where start needs something mounted
# --workdir=DIR  where status looks for checkpoints; in all of runs/ unless given
# --grace=300    seconds from the request to stop to the kill
# --forward      pass SIGTERM on to the command: for a container, where only the first
#                process is told; elsewhere every process is, and c3jax takes a second
#                SIGTERM for an order to die at once
# --dry-run      print the command and do nothing
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$0")/common.sh"

flag=([state]="" [mount]="" [workdir]="" [grace]=300)
switch+=([forward]=no)
parse "$@"
verb=$(choice run start status stop)
state=${flag[state]}

run_worker() {
    local stopped=no code=0
    trap 'stopped=yes; [[ -z ${child-} ]] || pass_on' TERM
    C3JAX_REFUSED=2 "${rest[@]}" &
    child=$!
    [[ $stopped == no ]] || pass_on
    [[ -z $state ]] || printf '%s %s\n' "$$" "$child" >"$state/pids"
    await "$child" || code=$?
    if [[ $stopped == yes ]] && ((code == 0)); then
        code=143
    fi
    [[ -z $state ]] || printf '%s\n' "$code" >"$state/code"
    return "$code"
}

pass_on() {
    [[ ${switch[forward]} == no ]] || kill -TERM "$child" 2>/dev/null || true
}

alive() {
    local supervisor
    [[ -s $state/pids ]] || return 1
    read -r supervisor _ <"$state/pids"
    # Not another process that was given the number since.
    grep -qs "${0##*/}" "/proc/$supervisor/cmdline"
}

status_line() {
    local now=none
    if alive; then
        now=running
    elif [[ -s $state/code ]]; then
        now="exited $(<"$state/code")"
    elif [[ -s $state/pids ]]; then
        now=dead
    fi
    printf 'worker %s %s, %s\n' "$(uname -n)" "$now" "$(newest)"
}

# The newest checkpoint: of the run, or else of its warm start.
newest() {
    local kind steps workdirs=(runs/*)
    [[ -z ${flag[workdir]} ]] || workdirs=("${flag[workdir]}")
    for kind in checkpoints warm_start; do
        steps=$(find "${workdirs[@]/%//$kind}" -mindepth 1 -maxdepth 1 -printf '%f\n' \
            2>/dev/null | grep -x '[0-9]*' | sort -n | tail -n 1) || true
        [[ -z $steps ]] || break
    done
    printf '%s' "${steps:+newest of $kind is }${steps:-no checkpoint}"
}

stop_worker() {
    local supervisor child waited
    alive || return 0
    read -r supervisor child <"$state/pids"
    kill -TERM "$supervisor" "$child" 2>/dev/null || true
    for ((waited = 0; waited < 10 * flag[grace]; waited++)); do
        alive || return 0
        sleep 0.1
    done
    say "not stopped within ${flag[grace]} seconds: killed"
    # `start` made a session, so the worker's group holds all it started.
    kill -KILL -- "-$supervisor" 2>/dev/null || true
}

if [[ $verb != run ]]; then
    need state 'DIR, where the log, the pids and the exit code go'
fi
case $verb in
    run)
        need_rest 'the command'
        if dry; then
            run "${rest[@]}"
        else
            run_worker
        fi
        ;;
    start)
        need_rest 'the command'
        if dry; then
            run setsid "$0" run "--state=$state" -- "${rest[@]}"
            exit
        fi
        [[ -z ${flag[mount]} ]] || mountpoint -q "${flag[mount]}" ||
            refuse "nothing is mounted at ${flag[mount]}, where the run is kept; install" \
                "mounts it"
        mkdir -p "$state"
        alive && refuse "already running; stop it first"
        rm -f "$state/pids" "$state/code"
        printf '%s: %s\n' "$(date -u +%FT%TZ)" "$(quoted "${rest[@]}")" >>"$state/log"
        setsid "$0" run "--state=$state" -- "${rest[@]}" \
            </dev/null >>"$state/log" 2>&1 &
        for _ in {1..50}; do
            [[ -s $state/pids ]] && break
            sleep 0.1
        done
        status_line
        ;;
    status) run status_line ;;
    stop)
        count grace 0
        run stop_worker
        run status_line
        ;;
esac
