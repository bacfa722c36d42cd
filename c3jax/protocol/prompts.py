"""Context templates of roles, compiled once into pieces of token ids.

A message reaches the next role as the very ids that were sampled, never as text that is
tokenised again: that is what makes a replay exact. So the chat template is rendered
with a sentinel character in place of the question and of every message, the text is
split there, and the pieces between are tokenised once.

Control tokens come from the template alone. Where a question, an instruction or a title
spells one, it is cut before the tokenizer sees it: no question can end the turn that
holds it.
"""

import dataclasses
import datetime
import re

import jinja2
import numpy as np

from c3jax.core.types import ContextTemplate, Questions, Role
from c3jax.protocol import marks

# Private-use characters: no template, text or tokenizer gives them a meaning.
_QUESTION, _MESSAGE = "\ue000", 0xE001
# Ids that make an instruction worth a segment of its own; fewer are cheaper without.
_WORTH = 16
# A noncharacter of Unicode, which marks the places where a text is cut.
_CUT = "\ufdd0"
_DATE = datetime.date(2026, 1, 1)


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A role's context: before + question + after, then messages as in `template`.

    Attributes:
        before: ids ahead of the question.
        after: ids behind it.
        template: the ids around the messages that the role reads.
        tokenizer: the tokenizer of all these ids.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    template: ContextTemplate
    tokenizer: object


def prompt(
    tokenizer,
    role: Role,
    roles: tuple[Role, ...],
    thinking: bool = False,
    date: datetime.date = _DATE,
) -> Prompt:
    """Compiles the chat template of a tokenizer for one role.

    The role's instruction is the system message; where a template has none, the user's
    message begins with it.

    Args:
        tokenizer: a `transformers` tokenizer with a chat template.
        role: the role that reads the context.
        roles: the whole team, in topological order.
        thinking: the value of the template's switch for thinking, if it has one.
        date: today's to the template: a run that goes on tomorrow has the same
            contexts.

    Raises:
        ValueError: the template drops or repeats the question or a message, nothing
            follows the last of them (there must be a generation prompt), the
            tokenizer does not know a word of the rest, or the role cannot write the
            mark that it finishes with.
    """
    order = [other.name for other in roles]
    reads = tuple(order.index(name) for name in role.depends_on)
    if role.counts:  # It writes nothing, so it reads nothing.
        return Prompt((), (), ContextTemplate(reads, ((),) * len(reads), 0), tokenizer)

    # The template's text, with a sentinel for the question and for every message.
    added = _added(tokenizer)
    titles = {
        other.name: _CUT.join(_cut(added, other.title or other.name)) for other in roles
    }
    instruction = _CUT.join(_cut(added, role.instruction))
    places = [_QUESTION, *(chr(_MESSAGE + i) for i in range(len(role.depends_on)))]
    parts = [_QUESTION]
    for name, place in zip(role.depends_on, places[1:], strict=True):
        parts.append(f"{titles[name]} :\n{place}")
    text = _rendered(tokenizer, instruction, "\n\n".join(parts), thinking, date)

    pieces, first_token = _between(tokenizer, role, places, text)
    return Prompt(
        before=pieces[0],
        after=pieces[1],
        template=ContextTemplate(
            reads=reads,
            separators=tuple(pieces[2:]),
            first_token=first_token,
            finish=marks.table(tokenizer, role) if role.finishes else b"",
            instruction=pieces[0] if len(pieces[0]) >= _WORTH else (),
        ),
        tokenizer=tokenizer,
    )


def _between(
    tokenizer, role: Role, places: list[str], text: str
) -> tuple[list[tuple[int, ...]], int]:
    """The ids before, between and after the sentinels; the very last id apart."""
    pieces, context = [], text

    # The text before each sentinel is one piece.
    for place in places:
        if text.count(place) != 1:
            raise ValueError(
                f"the chat template shows {role.name!r} a part of its context "
                f"{text.count(place)} times instead of once: {text!r}."
            )
        before, text = text.split(place)
        pieces.append(tuple(_ids(tokenizer, before.split(_CUT))))

    # What follows the last one opens the answer.
    last = _ids(tokenizer, text.split(_CUT))
    if not last:
        raise ValueError(
            f"the chat template opens no answer for {role.name!r}; it needs a "
            "generation prompt after the last message."
        )
    pieces.append(tuple(last[:-1]))

    # A word that the tokenizer does not know would be lost.
    if any(tokenizer.unk_token_id in piece for piece in pieces):
        for sign in (_CUT, *places, *tokenizer.get_added_vocab()):
            context = context.replace(sign, " ")
        raise ValueError(
            f"the tokenizer does not know {unknown(tokenizer, context)} in the context "
            f"of {role.name!r}: change its instruction, {role.instruction!r}, or the "
            f"title of a role that it reads, {role.depends_on}."
        )
    return pieces, last[-1]


@dataclasses.dataclass(frozen=True)
class ChatTemplate:
    """The behaviour of a chat template.

    Attributes:
        system: whether the instruction is a message of its own; otherwise the user's
            message begins with it.
        switch: whether it has a switch for thinking.
        generation_prompt: text between the user's message and the answer.
    """

    system: bool
    switch: bool
    generation_prompt: str


def chat_template(tokenizer) -> ChatTemplate:
    """Describes the chat template of a tokenizer.

    Args:
        tokenizer: a `transformers` tokenizer with a chat template.
    """
    instruction = chr(_MESSAGE)
    text, thinks = (
        _rendered(tokenizer, instruction, _QUESTION, thinking)
        for thinking in (False, True)
    )
    return ChatTemplate(
        system=f"{instruction}\n\n{_QUESTION}" not in text,
        switch=text != thinks,
        generation_prompt=text.rpartition(_QUESTION)[2],
    )


def _dated(template: str, date: datetime.date) -> str:
    """A chat template with a day in the place of today.

    `transformers` gives templates a clock, `strftime_now`, and since 5.24 takes no
    function in its place: arguments of a template are made plain data.
    """
    found = _TODAY.sub(lambda call: repr(date.strftime(call[2])), template)
    if "strftime_now(" in found:
        raise ValueError(
            "the chat template asks what day it is in a format that is computed; "
            "write the format into the call of strftime_now."
        )
    return found


# A template's question what day it is, with its format.
_TODAY = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")


def closing(tokenizer) -> tuple[int, ...]:
    """The added token that a chat template closes an answer with; () for none."""
    answer = chr(_MESSAGE)
    try:
        text = tokenizer.apply_chat_template(
            [
                {"role": "user", "content": _QUESTION},
                {"role": "assistant", "content": answer},
            ],
            tokenize=False,
        )
    except jinja2.TemplateError:
        return ()
    after = _ids(tokenizer, [text.rpartition(answer)[2].lstrip()])[:1]
    return tuple(i for i in after if i in tokenizer.get_added_vocab().values())


def _rendered(
    tokenizer,
    instruction: str,
    user: str,
    thinking: bool,
    date: datetime.date = _DATE,
) -> str:
    """The template's text up to where the answer begins."""
    template = _dated(tokenizer.chat_template, date)

    def render(*messages):
        return tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in messages],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=thinking,
            chat_template=template,
        )

    try:
        text = render(("system", instruction), ("user", user))
    except jinja2.TemplateError:  # "no system role", says the template
        text = ""
    if instruction.strip() not in text or not text:
        text = render(("user", f"{instruction}\n\n{user}"))
    return text


# The length of a question with an unknown word; it is longer than any limit.
UNREADABLE = 1 << 30


def unknown(tokenizer, text: str) -> list[str]:
    """The words of a text that a tokenizer does not know, each once."""
    words = [*dict.fromkeys(text.split())]
    ids = tokenizer(words, add_special_tokens=False)["input_ids"] if words else []
    return [
        word
        for word, own in zip(words, ids, strict=True)
        if tokenizer.unk_token_id in own
    ]


def longest(prompts: tuple[Prompt, ...], text: list[str]) -> list[int]:
    """The length in ids of each question's longest prompt.

    A question with a word that a tokenizer does not know is `UNREADABLE`.
    """
    return [
        max(
            UNREADABLE
            if p.tokenizer.unk_token_id in body
            else len(p.before) + len(body) + len(p.after)
            for p, body in zip(prompts, bodies, strict=True)
        )
        for bodies in zip(*_spelled(prompts, text), strict=True)
    ]


def spell(tokenizer, texts: list[str]) -> list[list[int]]:
    """The ids of texts from outside a template: no control token is among them.

    A text that spells one, or another token that was added to the tokenizer's own, is
    cut behind its first character and the parts are tokenised: "<|im_end|>" in a
    question is a few ordinary tokens. `split_special_tokens` of `transformers` would
    not do: it overlooks added tokens that are not called special, such as "<think>",
    and a tokenizer of whole words finds all of them in its own table again.
    """
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
    added = _added(tokenizer)
    for row, text in enumerate(texts):
        parts = _cut(added, text)
        if len(parts) > 1:
            encoded[row] = _ids(tokenizer, parts)
    return encoded


def _added(tokenizer) -> re.Pattern:
    """A pattern for the places where an added token begins; they may overlap."""
    words = [word for word in tokenizer.get_added_vocab() if len(word.strip()) > 1]
    # Without any, the pattern never matches.
    return re.compile(f"(?={'|'.join(map(re.escape, words)) or '(?!)'})")


def _cut(added: re.Pattern, text: str) -> list[str]:
    """A text in parts, none of which holds the whole of an added token."""
    cuts = [match.start() + 1 for match in added.finditer(text)]
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]


def _ids(tokenizer, parts: list[str]) -> list[int]:
    encoded = tokenizer(parts, add_special_tokens=False)["input_ids"]
    return [i for ids in encoded for i in ids]


def _spelled(prompts: tuple[Prompt, ...], text: list[str]) -> list[list[list[int]]]:
    """Per role the ids of each text; roles with one tokenizer share the work."""
    tokenizers = {id(p.tokenizer): p.tokenizer for p in prompts}
    ids = {key: spell(tokenizer, text) for key, tokenizer in tokenizers.items()}
    return [ids[id(p.tokenizer)] for p in prompts]


def encode(
    prompts: tuple[Prompt, ...], uid: list[int], text: list[str], size: int
) -> Questions:
    """Questions as the prompts of every role, NumPy arrays.

    Args:
        prompts: one a role.
        uid: addresses of the B questions.
        size: P, the length prompts are padded to.

    Raises:
        ValueError: a word the tokenizer does not know, or a prompt longer than `size`.
    """
    padded, lengths = [], []
    for p, bodies in zip(prompts, _spelled(prompts, text), strict=True):
        rows = np.zeros((len(text), size), np.int32)
        length = np.zeros(len(text), np.int32)
        for row, body in enumerate(bodies):
            if p.tokenizer.unk_token_id in body:
                words = unknown(p.tokenizer, text[row])
                raise ValueError(
                    f"the tokenizer does not know {words} of {text[row]!r}."
                )
            ids = [*p.before, *body, *p.after]
            if len(ids) > size:
                raise ValueError(
                    f"a question takes {len(ids)} tokens with its instruction, more "
                    f"than {size}; raise data.prompt_tokens: {text[row]!r}."
                )
            rows[row, : len(ids)] = ids
            length[row] = len(ids)
        padded.append(rows)
        lengths.append(length)
    return Questions(
        uid=np.asarray(uid, np.uint32), prompts=tuple(padded), lengths=tuple(lengths)
    )
