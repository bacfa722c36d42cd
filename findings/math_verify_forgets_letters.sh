#!/usr/bin/env bash
# math-verify judges answers equal that differ in the case of a letter, a unit or a number word.
#
# math-verify 0.9.0, latex2sympy2-extended 1.11.0, SymPy 1.14.0; Python 3.11, CPU.
#
# Both answers stand in a box and are read as its documentation says, verify(parse(gold), parse(answer)).
# The case of a letter, gcd of two unknowns, a unit of another size and the word "million" make no difference
# then; why was not looked into.
# A policy that is rewarded by it alone learns to leave such words and letters to chance.
#
# Seen, judged equal:
#   R-r                and  r-R
#   \gcd(a,b)          and  1
#   5 \text{ km}       and  5 \text{ m}
#   5                  and  5 \text{ million}
# Seen, told apart, as is right:
#   R-r                and  2r-R
#   5                  and  6 \text{ million}
#
# Exit 0: all as described; 1: something has changed.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check math-verify==0.9.0 latex2sympy2-extended==1.11.0 \
    antlr4-python3-runtime==4.13.2 sympy==1.14.0

cat >"$place/check.py" <<'PYTHON'
import sys

import math_verify

status = 0
for gold, answer, described in (
    ("R-r", "r-R", True),
    (r"\gcd(a,b)", "1", True),
    (r"5 \text{ km}", r"5 \text{ m}", True),
    ("5", r"5 \text{ million}", True),
    ("R-r", "2r-R", False),
    ("5", r"6 \text{ million}", False),
):
    read = [math_verify.parse(rf"\boxed{{{text}}}") for text in (gold, answer)]
    came = math_verify.verify(*read)
    same = came == described
    print(f"{'as described' if same else 'CHANGED'}  {gold} and {answer}: {came}")
    status |= not same
sys.exit(status)
PYTHON
"$place/venv/bin/python" "$place/check.py"
