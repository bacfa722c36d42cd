"""Tokenizers, all behind the interface of `transformers`.

The embedded ones are kept in the repository: one token a word and one a number, since
arithmetic over digit tokens takes a small model far longer to learn.
"""

import pathlib
from collections.abc import Iterable

from c3jax.core import gguf, gguf_tokenizer
from c3jax.data import problems, programs

_HERE = pathlib.Path(__file__).parent
SPECIAL = ("<pad>", "<unk>", "<end>", "<system>", "<user>", "<assistant>")
# A chat template like any other model's, in words the tokenizer knows.
_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} "
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


# The words of an embedded tokenizer: those of the questions, and of the roles' prompts.
EMBEDDED = {
    "words": (problems.vocabulary, "write the sum . work it out . reasoner actor :"),
    "program_words": (
        programs.vocabulary,
        "write the steps program . reasoner actor :",
    ),
}


def load(name: str):
    """The tokenizer called `name`: one of `EMBEDDED`, or a directory or GGUF with one.

    An embedded tokenizer is a `PreTrainedTokenizerFast`; `transformers` chooses the
    class of a published one.

    Raises:
        ValueError: no such tokenizer, or one without an end token or chat template.
    """
    import transformers  # Slow to import, and only runs need it.

    path = _HERE / name if name in EMBEDDED else pathlib.Path(name)
    if path.suffix == gguf.SUFFIX:
        tokenizer = gguf_tokenizer.load(path)
    elif not (path / "tokenizer_config.json").exists():
        raise ValueError(
            f"data.tokenizer={name!r}: there is no {path / 'tokenizer_config.json'}; "
            f"give one of {sorted(EMBEDDED)}, or a directory or GGUF with a tokenizer."
        )
    elif (path / "tokenizer.json").exists():
        # As the file says. `AutoTokenizer` goes by the model's type where a config is
        # beside it, and splits text by that type's rule.
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(path)
    else:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    if tokenizer.eos_token_id is None or not tokenizer.chat_template:
        raise ValueError(
            f"data.tokenizer={name!r} needs an end-of-sequence token and a chat "
            "template; one of them is not there."
        )
    return tokenizer


def embedded_words(name: str) -> list[str]:
    """The vocabulary of an embedded tokenizer."""
    vocabulary, prompts = EMBEDDED[name]
    words = vocabulary()
    return words + sorted({*prompts.split()} - {*words})


def word_level(words: Iterable[str]):
    """Builds a word-level tokenizer with a chat template.

    Args:
        words: the vocabulary, in the order of its ids, without special tokens.
    """
    import tokenizers
    import transformers

    vocab = {word: i for i, word in enumerate([*SPECIAL, *words])}
    model = tokenizers.models.WordLevel(vocab, unk_token="<unk>")
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<end>",
        extra_special_tokens=list(SPECIAL[3:]),
        chat_template=_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
