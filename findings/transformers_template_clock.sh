#!/usr/bin/env bash
# A chat template that writes today's date cannot be given another day any more.
#
# transformers 4.57.6 and 5.24.0, tokenizers 0.22.2 and 0.23.3, jinja2 3.1.6; Python 3.11, CPU.
#
# Templates such as those of Llama 3.2 and SmolLM3 write the day they are rendered on, by a
# function `strftime_now` that transformers puts into their globals. Prompts of a run, of its
# resume the day after and of a replay thus differ in their ids. In 4.57 a function of that name
# among the arguments of `apply_chat_template` took its place. 5.24 turns all arguments into plain
# data first: the function arrives as a text, and the template fails as it calls that.
#
# Seen, strftime_now=lambda format: "on a day" as an argument:
#   4.57.6  'on a day'
#   5.24.0  TypeError: 'str' object is not callable
#
# Exit 0: all as described; 1: something has changed.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

cat >"$place/check.py" <<'PYTHON'
import sys

import tokenizers
import transformers

described = sys.argv[1]
words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a"))
made = transformers.PreTrainedTokenizerFast(tokenizer_object=words)
made.chat_template = "{{ strftime_now('%d %B %Y') }}"
try:
    came = made.apply_chat_template(
        [{"role": "user", "content": "a"}],
        tokenize=False,
        strftime_now=lambda format: "on a day",
    )
except TypeError as error:
    came = f"TypeError: {error}"
state = "as described" if came == described else f"CHANGED, described is {described!r}"
print(f"transformers {transformers.__version__}: {came!r}  {state}")
sys.exit(came != described)
PYTHON

try() { # VERSION OF TRANSFORMERS, TOKENIZERS, WHAT IS DESCRIBED
    python3 -m venv "$place/$1"
    "$place/$1/bin/pip" install -q --disable-pip-version-check \
        "transformers==$1" "tokenizers==$2" jinja2==3.1.6
    "$place/$1/bin/python" "$place/check.py" "$3"
}
export TRANSFORMERS_VERBOSITY=error
status=0
try 4.57.6 0.22.2 "on a day" || status=1
try 5.24.0 0.23.3 "TypeError: 'str' object is not callable" || status=1
exit $status
