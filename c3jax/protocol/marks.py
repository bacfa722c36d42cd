"""A mark that ends a dialogue, detected in token ids while they are on the devices.

A mark is a piece of text, but a rollout has ids only, and one text may be cut into ids
in many ways: "[FINISH]" behind a space or before a line break has other ids than alone.
So the characters of tokens are followed by a state, the number of the mark's characters
that the text ends with, and a table of how every token changes it.
"""

import numpy as np

from c3jax.core.types import Role


def table(tokenizer, role: Role) -> bytes:
    """The state of a role's mark after every token.

    Entry [i, s] is n if token i, after a text that ends with s characters of the mark,
    makes it end with n of them; M once all of the mark is there.

    Args:
        tokenizer: a `transformers` tokenizer whose tokens show printable ASCII as it
            is: byte-level, or of whole words.
        role: its `finishes` is the mark, of M characters.

    Returns:
        [V, M] uint8, row-major, where V - 1 is the largest id.

    Raises:
        ValueError: the tokenizer cannot write the mark, or not within a message.
    """
    # Tokens that do not touch the mark reset the state to 0.
    mark, vocab = role.finishes, tokenizer.get_vocab()
    states = np.zeros((max(vocab.values()) + 1, len(mark)), np.uint8)
    for token, i in vocab.items():
        if mark[0] in token or token[:1] in mark:
            states[i] = [_after(mark, mark[:s] + token) for s in range(len(mark))]

    ids = tokenizer.encode(mark, add_special_tokens=False)
    if not holds(mark, states, ids):
        raise ValueError(
            f"the tokenizer cannot write {mark!r}, with which {role.name!r} finishes; "
            "take a mark in words that it knows."
        )
    if len(ids) > role.max_tokens:
        raise ValueError(
            f"{mark!r}, with which {role.name!r} finishes, takes {len(ids)} tokens; "
            f"raise its max_tokens={role.max_tokens}."
        )
    return states.tobytes()


def holds(mark: str, states: np.ndarray, ids: list[int]) -> bool:
    """Whether a message of these ids holds the mark.

    Args:
        mark: M characters.
        states: [V, M], see `table`.
    """
    state = 0
    for i in ids:
        state = int(states[i, state])
        if state == len(mark):
            return True
    return False


def _after(mark: str, text: str) -> int:
    """The number of a mark's characters that end a text; M if it holds all of it."""
    if mark in text:
        return len(mark)
    return next(n for n in range(len(mark) - 1, -1, -1) if text.endswith(mark[:n]))
