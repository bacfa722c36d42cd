"""The tokenizer of a GGUF, as it was published.

A GGUF holds tokens and merges, but only the name of the rule that splits text before
they apply. A loader that does not know the rule gives other ids silently, so files with
an unknown rule are refused.
"""

import pathlib
from typing import NamedTuple

from c3jax.core import gguf

_KEY = "tokenizer.ggml."
# The format's types of tokens: of text, of control, added as text, padding of tables.
_TEXT, _CONTROL, _ADDED, _UNUSED = 1, 3, 4, 5
# Words, line ends and runs of white space as Qwen and Llama 3 split them, with a place
# for their different patterns of numbers.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


# Names of `transformers` for special tokens, to those of the format.
_SPECIAL = {
    "bos_token": "bos",
    "eos_token": "eos",
    "unk_token": "unknown",
    "pad_token": "padding",
}


class Rule(NamedTuple):
    """The splitting and normalising of a published tokenizer.

    Attributes:
        numbers: a regular expression for the digits that stay together; None if each is
            alone and the rest is split as by GPT-2.
        normalised: whether characters are composed first (NFC).
        whole: whether a word that is in the table is one token, whatever the merges.
        begins: whether text begins with `bos` by default.
    """

    numbers: str | None
    normalised: bool = False
    whole: bool = False
    begins: bool = False


# Sources: tokenizer.json of SmolLM2, of Qwen2.5 and Qwen3, and of Llama 3.
RULES = {
    "smollm": Rule(None),
    "qwen2": Rule(r"\p{N}", normalised=True),
    "llama-bpe": Rule(r"\p{N}{1,3}", whole=True, begins=True),
}


def load(path: pathlib.Path):
    """A `transformers.PreTrainedTokenizerFast` with the file's chat template, if any.

    Raises:
        ValueError: the file has no tokenizer, or an unknown kind of one; says which.
    """
    import transformers  # Slow to import.

    file = gguf.read(path)
    rule, tokens, kinds = _rule(file), _tokens(file), _kinds(file)
    ids = {role: _id(file, name) for role, name in _SPECIAL.items()}
    special = {role: tokens[i] for role, i in ids.items() if i is not None}
    flags = {
        "add_bos_token": file.fields.get(f"{_KEY}add_bos_token", rule.begins),
        "add_eos_token": file.fields.get(f"{_KEY}add_eos_token", False),
    }
    if flags["add_bos_token"] and "bos_token" not in special:
        raise ValueError(f"{path}: text begins with a bos token, which is not named.")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=_backend(rule, tokens, kinds, _merges(file, tokens)),
        chat_template=file.fields.get("tokenizer.chat_template"),
        clean_up_tokenization_spaces=False,
        **special,
        **flags,
    )


def ends(file: gguf.File) -> tuple[int, ...]:
    """Token ids that end a message: of text, of a turn, of a turn that calls a tool."""
    ids = (_id(file, name) for name in ("eos", "eot", "eom"))
    return tuple(dict.fromkeys(i for i in ids if i is not None))


def special_ids(file: gguf.File) -> dict:
    """Fields of a `transformers` config that name token ids."""
    last = ends(file)
    return {
        "bos_token_id": _id(file, "bos"),
        "eos_token_id": list(last) if len(last) > 1 else next(iter(last), None),
        "pad_token_id": _id(file, "padding"),
    }


def _rule(file: gguf.File) -> Rule:
    model = file.field(f"{_KEY}model", str)
    if model != "gpt2":
        raise ValueError(
            f"{file.path}: {_KEY}model is {model!r}; only 'gpt2', byte-level merges, "
            "is read."
        )
    name = file.field(f"{_KEY}pre", str)
    if name not in RULES:
        raise ValueError(
            f"{file.path}: {_KEY}pre is {name!r}, a rule for splitting text that is "
            f"not known; {sorted(RULES)} are."
        )
    if file.fields.get(f"{_KEY}add_space_prefix"):
        raise ValueError(
            f"{file.path}: {_KEY}add_space_prefix is set; texts that begin with a "
            "space of their own are not supported."
        )
    return RULES[name]


def _tokens(file: gguf.File) -> list[str]:
    tokens = file.field(f"{_KEY}tokens", list)
    if len({*tokens}) < len(tokens):
        raise ValueError(f"{file.path}: {_KEY}tokens has a token twice.")
    return tokens


def _kinds(file: gguf.File) -> list[int]:
    kinds = file.field(f"{_KEY}token_type", list)
    count = len(file.field(f"{_KEY}tokens", list))
    unknown = {*kinds} - {_TEXT, _CONTROL, _ADDED, _UNUSED}
    if len(kinds) != count or unknown:
        raise ValueError(
            f"{file.path}: {_KEY}token_type has {len(kinds)} types for {count} tokens"
            + (f", of which {sorted(unknown)} are not known." if unknown else ".")
        )
    return kinds


def _merges(file: gguf.File, tokens: list[str]) -> list[tuple[str, ...]]:
    merges = [tuple(m.split(" ")) for m in file.field(f"{_KEY}merges", list)]
    known = {*tokens}
    for pair in merges:
        if len(pair) != 2 or not {*pair, "".join(pair)} <= known:
            raise ValueError(
                f"{file.path}: {_KEY}merges has {' '.join(pair)!r}, which makes no "
                "token of two."
            )
    return merges


def _id(file: gguf.File, name: str) -> int | None:
    """The id of the token with some purpose; None if the file names none."""
    key = f"{_KEY}{name}_token_id"
    token, count = file.fields.get(key), len(file.field(f"{_KEY}tokens", list))
    if token is not None and not (type(token) is int and 0 <= token < count):
        raise ValueError(f"{file.path}: {key} is {token!r}, of {count} tokens.")
    return token


def _backend(rule: Rule, tokens, kinds, merges):
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    # Entries that only pad the table are no tokens of the published tokenizer.
    used = {t: i for i, t in enumerate(tokens) if kinds[i] != _UNUSED}
    backend = tokenizers.Tokenizer(models.BPE(used, merges, ignore_merges=rule.whole))
    if rule.normalised:
        backend.normalizer = normalizers.NFC()

    # Text is split into words, and these into bytes, before merges apply.
    if rule.numbers is None:
        digits = pre_tokenizers.Digits(individual_digits=True)
        parts = [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    else:
        split = tokenizers.Regex(_SPLIT.format(rule.numbers))
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        parts = [pre_tokenizers.Split(split, "isolated"), byte_level]
    backend.pre_tokenizer = pre_tokenizers.Sequence(parts)
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens(
        [
            tokenizers.AddedToken(t, special=kinds[i] == _CONTROL, normalized=False)
            for t, i in used.items()
            if kinds[i] in (_CONTROL, _ADDED)
        ]
    )
    return backend
