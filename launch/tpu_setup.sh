#!/usr/bin/env bash
# Makes one TPU VM ready for c3jax; tpu_pod.sh runs it on every worker of a slice.
#
#     launch/tpu_setup.sh [--bucket=BUCKET | --nfs=HOST:/SHARE] [--mount=/mnt/c3jax]
#
# Installs requirements-tpu.lock into ~/c3jax-venv, with a Python of its own: the images
# bring Python 3.10, c3jax needs 3.11. Then mounts what all workers share. What is there
# already is left alone. Neither the mount nor huge pages outlive a restart of the machine,
# so that this runs before every start.
#
# --bucket=BUCKET     a Cloud Storage bucket, through gcsfuse; better one with a
#                     hierarchical namespace, where a directory is renamed at once
# --nfs=HOST:/SHARE   an NFS share that speaks NFSv4.1, such as Filestore zonal or regional
# --mount=/mnt/c3jax  where
# --dry-run           print the commands and do nothing
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$0")/common.sh"

flag=([bucket]="" [nfs]="" [mount]=/mnt/c3jax)
parse "$@"
((${#words[@]} == 0)) || refuse "not a flag: ${words[*]}"
mount=${flag[mount]}
cd "$(dirname "$0")/.."

# A machine that has just started may still be installing its own updates.
apt=(sudo apt-get -o DPkg::Lock::Timeout=300 -q -y)

install_gcsfuse() {
    local key=/usr/share/keyrings/cloud.google.asc site=https://packages.cloud.google.com
    run bash -c "curl -fsSL $site/apt/doc/apt-key.gpg | sudo tee $key >/dev/null"
    run bash -c "source /etc/os-release; sudo tee /etc/apt/sources.list.d/gcsfuse.list \
        <<<\"deb [signed-by=$key] $site/apt gcsfuse-\$VERSION_CODENAME main\""
    run "${apt[@]}" update
    run "${apt[@]}" install gcsfuse
}

run env PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install -q --user uv
run python3 -m uv venv --allow-existing --python=3.12 "$HOME/c3jax-venv"
run python3 -m uv pip install -q --python="$HOME/c3jax-venv/bin/python" \
    -r requirements-tpu.lock
# JAX warns that without it a TPU starts much slower (jax/_src/cloud_tpu_init.py, 0.12.0).
run sudo sh -c 'echo always >/sys/kernel/mm/transparent_hugepage/enabled'

if [[ -z ${flag[bucket]}${flag[nfs]} ]] || { ! dry && mountpoint -q "$mount"; }; then
    exit
fi
run sudo mkdir -p "$mount"
if [[ -n ${flag[nfs]} ]]; then
    if dry || ! command -v mount.nfs >/dev/null; then
        run "${apt[@]}" install nfs-common
    fi
    # The lock of a machine that was taken away ends with its lease; in NFSv3 never.
    run sudo mount -t nfs -o vers=4.1,hard "${flag[nfs]}" "$mount"
    # A new share belongs to root.
    run sudo chmod a+rwx "$mount"
else
    if dry || ! command -v gcsfuse >/dev/null; then
        install_gcsfuse
    fi
    run sudo chown "$(id -u):$(id -g)" "$mount"
    # A checkpoint is complete once its directory has its name, which in a bucket means
    # that every file in it is copied: gcsfuse refuses unless so many are allowed.
    run gcsfuse --implicit-dirs --rename-dir-limit=200000 "${flag[bucket]}" "$mount"
fi
