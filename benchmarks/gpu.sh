#!/usr/bin/env bash
# Prefix sharing on one large accelerator (written for an H200, 141 GB):
#
#     bash benchmarks/gpu.sh [--small] [FILE]
#
# The shape of Qwen3-4B with random weights, 32 x 8 messages of 512 tokens after 1,024.
# Sampling keeps weights in bfloat16; a whole optimiser step has float32 weights, slope
# and moments, 64 GB, and computes in bfloat16. Lines of JSON are appended to FILE
# (gpu.jsonl). --small is the same on a toy, to see that it runs, on a CPU too.
set -euo pipefail
cd "$(dirname "$0")/.."

size=(--model=qwen3_4b -G 32 -K 8 -P 1024 -C 512 --repeats=3)
update=(--pieces=8,16,32 --logits-chunk=128)
if [[ "${1:-}" == --small ]]; then
  size=(--model=peer -G 2 -K 4 -P 32 -C 8 --repeats=1)
  update=(--pieces=1,2 --logits-chunk=4)
  shift
fi
common=("${size[@]}" --dtype=bfloat16 --attention=fused "--json=${1:-gpu.jsonl}")

# What JAX leaves to others by default is needed here.
export XLA_PYTHON_CLIENT_MEM_FRACTION=0.95

python -m benchmarks.decode "${common[@]}" --temperature=0.7 --top-p=0.8 --top-k=20
python -m benchmarks.update "${common[@]}" --step "${update[@]}"
