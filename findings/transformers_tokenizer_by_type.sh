#!/usr/bin/env bash
# A tokenizer.json is not read as it says where a config.json of another type is beside it.
#
# transformers 5.24.0, tokenizers 0.23.3; Python 3.11, CPU.
#
# A tokenizer of one's own (BPE over bytes, split as GPT-2 does) is saved, and a config.json with
# model_type qwen2 put beside it, as in the directory of a small model with Qwen2's architecture.
# AutoTokenizer takes the class of that type, which splits text by the rule that is written in its
# code (each digit alone), and not by the one in tokenizer.json; PreTrainedTokenizerFast reads the
# file as it is, and so does AutoTokenizer beside model_type llama. No warning is printed. Vocabulary
# and merges are the file's, so texts decode back and nothing shows.
#
# Seen, tokens of "ab 12" in a vocabulary with the merges 1 2 and a b:
#   PreTrainedTokenizerFast                ab, space, 12
#   AutoTokenizer, model_type llama        ab, space, 12
#   AutoTokenizer, model_type qwen2        ab, space, 1, 2
#
# Exit 0: all as described; 1: something has changed.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check transformers==5.24.0 tokenizers==0.23.3

cat >"$place/check.py" <<'PYTHON'
import pathlib
import sys

import tokenizers
import transformers
from tokenizers import models, pre_tokenizers

place = pathlib.Path(sys.argv[1])
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
vocabulary = {word: i for i, word in enumerate(["<end>", *alphabet, "12", "ab"])}
backend = tokenizers.Tokenizer(models.BPE(vocabulary, [("1", "2"), ("a", "b")]))
backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
made = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>")
made.save_pretrained(place)

by_file, by_type = ["ab", "Ġ", "12"], ["ab", "Ġ", "1", "2"]
status = 0
for model_type, loader, described in (
    ("qwen2", transformers.PreTrainedTokenizerFast, by_file),
    ("llama", transformers.AutoTokenizer, by_file),
    ("qwen2", transformers.AutoTokenizer, by_type),
):
    (place / "config.json").write_text(f'{{"model_type": "{model_type}"}}')
    came = loader.from_pretrained(place).tokenize("ab 12")
    same = came == described
    name = f"{loader.__name__}, {model_type}"
    print(f"{'as described' if same else 'CHANGED'}  {name}: {came}, described {described}")
    status |= not same
sys.exit(status)
PYTHON
mkdir "$place/model"
TRANSFORMERS_VERBOSITY=error "$place/venv/bin/python" "$place/check.py" "$place/model"
