# shellcheck shell=bash
# What Cloud TPUs are made of, in one table. Sourced, never run.
#
# family    what the name of a type begins with: v5p of v5p-64
# counts    what its number counts for each chip: 2 of v2 to v5p, where it counts
#           TensorCores (docs.cloud.google.com/tpu/docs/supported-tpu-configurations)
# alone     the most chips that are one machine. A slice of more has 4 on each: v6e-16 is
#           4 machines (tpu/docs/v6e), so is v5litepod-16 (AI-Hypercomputer/xpk,
#           system_characteristics.py), v5p-64 is 8 (supported-tpu-configurations)
# image     of tpu/docs/runtimes
# node      the label cloud.google.com/gke-tpu-accelerator (xpk, as above); - if not known.
#           Ironwood has no image: the Cloud TPU API does not know it (tpu/docs/tpu7x,
#           kubernetes-engine/docs/concepts/tpu-ironwood)
#
# Images, and what the API knows, as of 2026-08; the rest was read on 2026-11-28.
tpu_table='
v2        2 4 tpu-ubuntu2204-base -
v3        2 4 tpu-ubuntu2204-base -
v4        2 4 tpu-ubuntu2204-base tpu-v4-podslice
v5litepod 1 8 v2-alpha-tpuv5-lite tpu-v5-lite-podslice
v5p       2 4 v2-alpha-tpuv5      tpu-v5p-slice
v6e       1 8 v2-alpha-tpuv6e     tpu-v6e-slice
tpu7x     1 4 -                   tpu7x
'

# tpu_row WORD: family, counts, alone, image and node of a family (v5p), a type (v5p-64)
# or a label (tpu-v5p-slice), in one line. Fails if the table has none.
tpu_row() {
    awk -v word="$1" -v family="${1%%-*}" \
        '$5 == word { row = $0 } $1 == family { row = $0 } END { print row; exit !row }' \
        <<<"$tpu_table"
}

# chips_a_machine WORD CHIPS: of a slice of so many chips.
chips_a_machine() {
    local alone
    read -r _ _ alone _ <<<"$(tpu_row "$1")"
    if (($2 <= alone)); then
        printf '%s' "$2"
    else
        printf 4
    fi
}

# machines_of TYPE: of v5p-64, 8. Fails if the table does not know it.
machines_of() {
    local counts chips
    [[ $1 =~ ^[a-z0-9]+-[1-9][0-9]*$ ]] && tpu_row "$1" >/dev/null || return 1
    read -r _ counts _ <<<"$(tpu_row "$1")"
    chips=$((${1##*-} / counts))
    ((chips)) || chips=1
    printf '%s' $((chips / $(chips_a_machine "$1" "$chips")))
}

# tpu_advice TYPE: says what to know before a run on it; often nothing. One machine of v5e
# or v6e is a type for serving: it trains, with less availability (tpu/docs/v5e).
tpu_advice() {
    [[ ! $1 =~ ^(v5litepod|v6e)-[148]$ ]] ||
        say "note: $1 is made for serving, and for training less available; types for" \
            "training begin at ${1%-*}-16"
}
