#!/usr/bin/env bash
# Runs c3jax as several processes of one machine.
#
#     launch/local_multiprocess.sh --processes=2 -- --config=configs/math.py
#     launch/local_multiprocess.sh --processes=8 --devices=gpu -- --config=configs/math.py
#
# What follows -- goes to c3jax.main as it is, beside --coordinator=HOST:PORT,
# --processes=N and --process=I. When one process fails the others are stopped, and its
# exit code is returned. SIGTERM and Ctrl-C are passed on, so that the run is saved, and
# give 143 and 130: the same command goes on from there.
#
# --processes=N     how many
# --devices=cpu     cpu: processes talk through gloo; gpu: process I has GPU I
# --host=127.0.0.1  where process 0 is, for the others
# --port=P          where it listens; a free one of this machine unless given
# --logs=runs/logs  one log per process, process-I.log; restarts are appended
# --restarts=0      how often all are started again after one failed
# --grace=10        seconds from the request to stop to the kill, after one failed
# --program=LINE    what to run instead of "python -m c3jax.main", as a line of shell
# --dry-run         print the commands and do nothing
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$0")/common.sh"

flag=(
    [processes]="" [devices]=cpu [host]=127.0.0.1 [port]="" [logs]=runs/logs [restarts]=0 [grace]=10
    [program]='python -m c3jax.main'
)
parse "$@"
((${#words[@]} == 0)) || refuse "not a flag: ${words[*]}"
need processes 'N, how many processes'
count processes 1
count restarts 0
count grace 0
processes=${flag[processes]}
[[ ${flag[devices]} =~ ^(cpu|gpu)$ ]] || refuse "--devices=${flag[devices]} is not cpu or gpu"
if [[ -n ${flag[port]} ]]; then
    count port 1
    ((10#${flag[port]} <= 65535)) || refuse "--port=${flag[port]} is not a port"
fi

free_port() {
    local port
    while true; do
        port=$((20000 + RANDOM % 12000)) # below what systems hand out by themselves
        (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    printf '%s' "$port"
}

# command_of I: sets `command` to that of process I.
command_of() {
    if [[ ${flag[devices]} == cpu ]]; then
        command=(env JAX_PLATFORMS=cpu JAX_CPU_COLLECTIVES_IMPLEMENTATION=gloo)
    else
        command=(env "CUDA_VISIBLE_DEVICES=$1")
    fi
    command+=(
        bash -c "exec ${flag[program]} \"\$@\"" c3jax
        "--coordinator=${flag[host]}:$port" "--processes=$processes" "--process=$1"
        "${rest[@]}"
    )
}

declare -A number=() started=() # pid -> I, of those that run and of all

# signal_all NAME: tells the processes themselves, which look after what they started.
signal_all() {
    local pid
    for pid in "${!number[@]}"; do
        kill "-$1" "$pid" 2>/dev/null || true
    done
}

# A process has a session of its own, so that a kill takes what it started with it.
kill_all() {
    local pid
    signal_all KILL
    for pid in "${!started[@]}"; do
        kill -KILL -- "-$pid" 2>/dev/null || true
    done
}

# Starts all and waits for all; returns the code of the first that failed.
attempt() {
    local index pid code failed=0 deadline=0
    number=() started=()
    for ((index = 0; index < processes; index++)); do
        command_of "$index"
        setsid "${command[@]}" </dev/null >>"${flag[logs]}/process-$index.log" 2>&1 &
        number[$!]=$index
        started[$!]=$index
    done
    while ((${#number[@]})); do
        sleep 0.1
        for pid in "${!number[@]}"; do
            kill -0 "$pid" 2>/dev/null && continue
            index=${number[$pid]} code=0
            unset "number[$pid]"
            await "$pid" || code=$?
            if ((code != 0 && failed == 0)) && [[ -z $stop ]]; then
                failed=$code deadline=$((SECONDS + flag[grace]))
                say "process $index exited with $code: ${flag[logs]}/process-$index.log"
                signal_all TERM
            fi
        done
        ((failed == 0 || SECONDS < deadline)) || kill_all
    done
    # What a process that is gone left behind.
    kill_all
    return "$failed"
}

stop=
port=${flag[port]:-$(free_port)}
if dry; then
    for ((index = 0; index < processes; index++)); do
        command_of "$index"
        printf '%s >>%s 2>&1 &\n' "$(quoted "${command[@]}")" \
            "$(quoted "${flag[logs]}/process-$index.log")"
    done
    exit
fi

mkdir -p "${flag[logs]}"
trap 'stop=143; signal_all TERM' TERM
trap 'stop=130; signal_all TERM' INT
trap kill_all EXIT
say "tail -f ${flag[logs]}/process-0.log"
for ((restart = 0; ; restart++)); do
    code=0
    attempt || code=$?
    [[ -z $stop ]] || exit "$stop"
    if ((code == 0 || restart >= flag[restarts])); then
        exit "$code"
    fi
    say "restart $((restart + 1)) of ${flag[restarts]}"
    port=${flag[port]:-$(free_port)}
done
