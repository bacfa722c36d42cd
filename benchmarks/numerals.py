"""Text for peers that take text: a token's word is its number.

Prompts and messages of the benchmarks are random ids, and random weights need no words.
"""

from collections.abc import Iterable

import numpy as np
import tokenizers
import transformers

_END = "end"


def tokenizer(vocab: int) -> transformers.PreTrainedTokenizerFast:
    """Of the ids below `vocab`; its end token, which is the padding, is not one.

    A model of that vocabulary cannot sample it, so no message ends early.
    """
    words = {str(number): number for number in range(vocab)} | {_END: vocab}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token=_END))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=_END, pad_token=_END, padding_side="left"
    )


def written(ids: Iterable[int]) -> str:
    return " ".join(str(int(number)) for number in ids)


def read(texts: Iterable[str]) -> np.ndarray:
    """[n, C] ids of texts of one length."""
    return np.array([[int(word) for word in text.split()] for text in texts], np.int32)
