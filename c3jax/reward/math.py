"""Terminal reward of a mathematical answer: the last box against the gold answer."""

_OPEN = r"\boxed{"


def extract(text: str) -> str | None:
    """The contents of the last `\\boxed{}` with balanced braces, stripped.

    Returns:
        None where there is no such box: the answer is malformed.
    """
    start = text.rfind(_OPEN)
    while start >= 0:
        depth = 1
        for end in range(start + len(_OPEN), len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                return text[start + len(_OPEN) : end].strip()
        # An unclosed box hides no earlier, closed one.
        start = text.rfind(_OPEN, 0, start)
    return None


def score(text: str, answer: str) -> float:
    """1.0 if the last box of `text` holds exactly `answer`, otherwise 0.0."""
    return float(extract(text) == answer.strip())
