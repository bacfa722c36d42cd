#!/usr/bin/env bash
# Runs c3jax on GPU nodes of a SLURM cluster.
#
#     launch/slurm_gpu.sh submit --nodes=2 --gpus=8 --time=24:00:00 --partition=PARTITION \
#         -- --config=configs/math.py --workdir=/shared/math
#
# submit   hands the job to sbatch; what follows -- goes to c3jax.main
# job      what the batch script runs, on the first node
#
# One process a node, with all its GPUs: a node then has one copy of the data, compiles
# each program once and scores answers in one pool of processes. JAX finds coordinator,
# number and index of the processes in SLURM's variables; as it would take SLURM tasks for
# one GPU each, JAX_LOCAL_DEVICE_IDS tells it that they have all.
#
# The repository, the Python and the workdir are on a file system that all nodes see.
# A job that is preempted, or whose time is nearly over, saves and goes back to the queue;
# there the same command goes on from the workdir. When a process dies JAX ends the
# others, SLURM what is left after ten minutes, and all are started again, inside the
# same job; a usage error (exit code 2) ends it.
#
# Before its time is over a job has --grace. One that is preempted has what the site gives:
# the GraceTime of its partition or QOS, at whose end SLURM sends the second SIGTERM, or,
# where that is 0, as it is unless set, KillWait, which is 30 seconds unless set (`scontrol
# show partition`, `scontrol show config`). When that is too short for a step and a
# checkpoint, it goes on from the newest checkpoint that it wrote on the way.
#
# --nodes=1           how many
# --gpus=8            on each, asked for by --gpus-per-node, which is for sites with
#                     SelectType=select/cons_tres
# --gres=gpu:8        asks for them so, at other sites; gpu:TYPE:8 for one type. With none
#                     they are not asked for, where SLURM does not know of GPUs
# --time=TIME         the longest a job may take; a longer run takes several turns
# --partition=NAME    the cluster's own unless given
# --account=NAME      the cluster's own unless given
# --name=c3jax        of the job
# --logs=runs/logs    NAME-JOB.log, and NAME-JOB-process-I.log of each process
# --python=python     which one
# --restarts=3        how often all are started again after one failed
# --grace=300         seconds before the end of the time in which the run is saved
# --sbatch-flag=FLAG  one more flag of sbatch; may be repeated
# --dry-run           print the commands and do nothing
set -euo pipefail

# sbatch runs the script it is given from a copy elsewhere, so that is a line that runs
# this one, where it is.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$here/common.sh"

flag=(
    [nodes]=1 [gpus]=8 [time]="" [partition]="" [account]="" [name]=c3jax
    [logs]=runs/logs [python]=python [restarts]=3 [grace]=300
    [gres]=""
)
many=([sbatch-flag]="")
parse "$@"
verb=$(choice submit job)
count nodes 1
count gpus 1
count restarts 0
count grace 0
need_rest 'what c3jax.main is to do, such as --config=configs/math.py'
mapfile -t sbatch_flags < <(printf '%s' "${many[sbatch-flag]}")

submit() {
    local flags job workdir gpus="--gpus-per-node=${flag[gpus]}"
    need time 'TIME, such as 24:00:00, the longest the job may take'
    workdir=$(given workdir)
    if ((flag[nodes] > 1)) && [[ $workdir =~ ^/(tmp|var/tmp|dev/shm)(/|$) ]]; then
        refuse "--workdir=$workdir is local to one node; put it on a file system that" \
            "all ${flag[nodes]} nodes see"
    fi
    # SLURM keeps the seconds in 16 bits.
    ((flag[grace] <= 65535)) || refuse "--grace=${flag[grace]} is more than 65535 seconds"
    if [[ ${flag[gres]} == none ]]; then
        gpus=''
    elif [[ -n ${flag[gres]} ]]; then
        [[ ${flag[gres]} =~ ^gpu:([A-Za-z0-9_.-]+:)?([0-9]+)$ ]] ||
            refuse "--gres=${flag[gres]} is not like gpu:8, gpu:TYPE:8 or none"
        ((BASH_REMATCH[2] == flag[gpus])) ||
            refuse "--gres=${flag[gres]} is not the --gpus=${flag[gpus]} of a node: make" \
                "them the same"
        gpus="--gres=${flag[gres]}"
    fi
    flags=(
        "--job-name=${flag[name]}" "--nodes=${flag[nodes]}" --ntasks-per-node=1
        ${gpus:+"$gpus"} --exclusive --mem=0 "--time=${flag[time]}"
        # To the batch script alone: it tells the processes.
        "--signal=B:USR1@${flag[grace]}" --requeue --open-mode=append
        "--chdir=${here%/*}" "--output=${flag[logs]}/%x-%j.log"
    )
    [[ -z ${flag[partition]} ]] || flags+=("--partition=${flag[partition]}")
    [[ -z ${flag[account]} ]] || flags+=("--account=${flag[account]}")
    job=(
        launch/slurm_gpu.sh job "--gpus=${flag[gpus]}" "--logs=${flag[logs]}"
        "--python=${flag[python]}" "--restarts=${flag[restarts]}" -- "${rest[@]}"
    )
    # sbatch does not make the directory of its log.
    (cd "${here%/*}" && run mkdir -p "${flag[logs]}")
    run sbatch "${flags[@]}" "${sbatch_flags[@]}" \
        "--wrap=exec $(quoted "${job[@]}")"
}

# Starts all processes and waits for them; returns SLURM's code of the step.
step() {
    local code=0
    # In the background, as bash lets no trap interrupt a command in the foreground.
    run srun "--cpus-per-task=${SLURM_CPUS_ON_NODE:-1}" --kill-on-bad-exit=0 \
        --wait=600 --open-mode=append "--output=${flag[logs]}/%x-%j-process-%t.log" \
        launch/worker.sh run -- "${flag[python]}" -m c3jax.main "${rest[@]}" &
    await $! || code=$?
    return "$code"
}

# Whether this job is still meant to run: not cancelled, nor taken off by SLURM itself.
wanted() {
    [[ $(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T) == RUNNING ]]
}

job() {
    local code restart stop=no
    cd "${here%/*}"
    JAX_LOCAL_DEVICE_IDS=$(seq -s, 0 $((flag[gpus] - 1)))
    export JAX_LOCAL_DEVICE_IDS
    if dry; then
        printf 'export JAX_LOCAL_DEVICE_IDS=%s\n' "$JAX_LOCAL_DEVICE_IDS"
        step
        return
    fi
    # scancel with a signal tells the processes of the steps, and not this script.
    trap 'stop=yes; scancel --signal=TERM "$SLURM_JOB_ID"' USR1
    for ((restart = 0; ; restart++)); do
        code=0
        step || code=$?
        ((code)) || return 0
        # 143: the run was asked to stop, and saved.
        if [[ $stop == yes ]] || ((code == 143)); then
            if wanted; then
                say "back to the queue"
                scontrol requeue "$SLURM_JOB_ID"
            fi
            return "$code"
        fi
        # What was mistyped stays so.
        ((code != 2 && restart < flag[restarts])) || return "$code"
        say "a process failed ($code): restart $((restart + 1)) of ${flag[restarts]}"
    done
}

"$verb"
