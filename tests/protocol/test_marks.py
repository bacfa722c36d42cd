"""Marks that end a dialogue, detected in ids."""

import numpy as np
import pytest

from c3jax.core.types import Role
from c3jax.data import tokenizer
from c3jax.protocol import marks

TOKENS = ("[FIN", "ISH", "]", "[", "Ġ[", "F", "IN", "]Ċ", "a", "[[F", "a[FINISH].")
ROLE = Role("thinker", "", finishes="[FINISH]", max_tokens=4)


class MadeUp:
    """Tokens of several characters, as a byte-level tokenizer writes them."""

    def get_vocab(self):
        return {token: i for i, token in enumerate(TOKENS)}

    def encode(self, text, add_special_tokens):
        assert text == "[FINISH]" and not add_special_tokens
        return [TOKENS.index(token) for token in ("[FIN", "ISH", "]")]


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("[FIN ISH ]", True),
        ("a Ġ[ F IN ISH ]Ċ a", True),
        ("[ [[F IN ISH ] a", True),
        ("a[FINISH].", True),
        ("[FIN a[FINISH]. a", True),
        ("[FIN a ISH ]", False),
        ("[FIN ISH a ]", False),
        ("ISH ] [FIN", False),
        ("[ F IN IN ISH ]", False),
        ("", False),
    ],
)
def test_a_mark_is_found_however_it_is_cut_into_tokens(text, there):
    states = np.frombuffer(marks.table(MadeUp(), ROLE), np.uint8).reshape(-1, 8)
    ids = [TOKENS.index(token) for token in text.split()]
    assert marks.holds("[FINISH]", states, ids) == there
    assert ("[FINISH]" in "".join(text.split())) == there


def test_a_mark_that_cannot_be_written_is_refused():
    words = tokenizer.load("words")
    with pytest.raises(ValueError, match="cannot write 'stop', with which 'thinker'"):
        marks.table(words, Role("thinker", "", finishes="stop"))
    with pytest.raises(ValueError, match="takes 3 tokens; raise its max_tokens=2"):
        marks.table(MadeUp(), Role("thinker", "", finishes="[FINISH]", max_tokens=2))
