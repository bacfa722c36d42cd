"""Demonstrations of one's own: what each role of a team writes on a question.

    {"question": "Tom has 2 pens and buys 3 more. How many has he now?", "answer": "5",
     "messages": {"reasoner": "2 + 3 = 5", "actor": "So Tom has 5 pens."}}

is one line of the file.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from c3jax.data import rows


@dataclasses.dataclass(frozen=True)
class Demonstrated:
    """A question with the messages to imitate.

    Attributes:
        uid: its place in the file, from 0.
        id: the file and the line.
        text, answer: the question, and its gold answer.
        messages: the message of each role, by its name.
    """

    uid: int
    id: str
    text: str
    answer: str
    messages: Mapping[str, str]


def read(path: pathlib.Path, roles: Sequence[str]) -> list[Demonstrated]:
    """The demonstrations of a file; see `rows.read` for what that may be.

    Args:
        path: ends in one of `rows.ENDINGS`.
        roles: the roles that write; every row has a message of each, and no other.

    Raises:
        ValueError: a row is malformed, or there is none.
    """
    demonstrations, wanted = [], f"it must hold a message of each of {list(roles)}"
    for row in rows.read(path):
        # Exactly one message of every role, and each with some text.
        messages = row.value("messages", dict)
        for role in messages:
            if role not in roles:
                raise row.wrong("messages", f"has a role {role!r}; {wanted}")
        for role in roles:
            if role not in messages:
                raise row.wrong("messages", f"lacks {role!r}; {wanted}")
            text = messages[role]
            if not isinstance(text, str) or not text.strip():
                raise row.wrong(
                    "messages", f"has {text!r:.60} for {role!r}; it must be some text"
                )

        demonstrations.append(
            Demonstrated(
                uid=len(demonstrations),
                id=f"{path}, line {row.number}",
                text=row.text("question").strip(),
                answer=row.written("answer").strip(),
                messages=messages,
            )
        )
    if not demonstrations:
        raise ValueError(f"{path}: there is no demonstration in it.")
    return demonstrations
