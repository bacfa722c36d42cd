#!/usr/bin/env bash
# On a CPU, JAX copies the weights of every layer before it multiplies with them, in each
# pass over stacked layers; and a gradient through two passes holds a stack for each.
#
# jax 0.10.2, jaxlib 0.10.2; CPU, x86-64. The same with 0.12.0.1.
#
# Guess: XLA reads a layer's weights where they are, as a slice of the stack. Seen in the
# compiled programs of `jax.lax.scan` over weights [layers, width, width]:
#   scan                        one copy of a whole matrix a layer, before its product
#   scan, unroll=True           the same number of copies
#   a list of matrices          none
# Decoding a few rows is bound by reading weights; so there a copy, written and read
# again, is a large part of a step.
#
# Guess: the gradients that one stack of weights gets from two scans are added as they
# come. Seen: both stacks exist at once and are added at the end. Where each layer of one
# scan does the work of both, two stacks less of temporary memory are held.
#
# Exit 0: all as described; 1: something has changed.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

cat >"$place/check.py" <<'PYTHON'
import re
import sys

import jax
import jax.numpy as jnp

LAYERS, WIDTH, ROWS = 6, 256, 8
STACK = 4 * LAYERS * WIDTH * WIDTH
as_described = True


def check(what, came, described):
    global as_described
    verdict = "as described " if came == described else "CHANGED      "
    print(f"{verdict} {what}: {came}, described is {described}")
    as_described &= came == described


def compiled(fn, *shapes):
    args = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    return jax.jit(fn).lower(*args).compile()


def product(x, w):
    return jnp.tanh(x @ w)


def scanned(unroll):
    def run(w, x):
        return jax.lax.scan(lambda x, w: (product(x, w), None), x, w, unroll=unroll)[0]

    return run


def listed(x, *weights):
    for w in weights:
        x = product(x, w)
    return x


def copies(program):
    """Operations that make a whole matrix of weights out of the stack."""
    made = rf"= f32\[(?:1,)?{WIDTH},{WIDTH}\]\S* (?:dynamic-)?slice\("
    return len(re.findall(made, program.as_text()))


stack, matrix, rows = (LAYERS, WIDTH, WIDTH), (WIDTH, WIDTH), (ROWS, WIDTH)
print("jax", jax.__version__)
check("copies in the body of a scan", copies(compiled(scanned(1), stack, rows)), 1)
check("copies, unrolled", copies(compiled(scanned(True), stack, rows)), LAYERS)
check("copies from a list", copies(compiled(listed, rows, *[matrix] * LAYERS)), 0)


def apart(w, x, y):
    return sum(scanned(1)(w, each).sum() for each in (x, y))


def together(w, x, y):
    def both(carry, w):
        return [product(each, w) for each in carry], None

    return sum(each.sum() for each in jax.lax.scan(both, [x, y], w)[0])


def temporary(fn):
    program = compiled(jax.grad(fn), stack, rows, rows)
    return program.memory_analysis().temp_size_in_bytes


gap = (temporary(apart) - temporary(together)) / STACK
check("stacks of temporary memory more, from two scans", round(gap), 2)
sys.exit(not as_described)
PYTHON

python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check jax==0.10.2
"$place/venv/bin/python" "$place/check.py"
