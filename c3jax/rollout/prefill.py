"""The cost of reading contexts: tokens, and the slots that they are padded to."""

import math

from c3jax.core.types import Questions, Turn
from c3jax.credit import arrays
from c3jax.rollout import contexts


def tokens(
    team: contexts.Team,
    questions: Questions,
    turns: tuple[Turn, ...],
    given: tuple[int, ...] = (),
) -> int:
    """Context tokens that `sample` ran through the policy, by the lengths on record.

    A token counts as often as `contexts.read` computes it, once at its own level of the
    tree, if a message was written after it: after the end of a dialogue there is none.

    Args:
        turns: one a role, as sampled, in NumPy arrays.
        given: levels that were not sampled.
    """
    protocol, total = team.protocol, 0
    sizes = (len(questions.uid), *protocol.branching)
    for level, template in enumerate(team.templates):
        if level in (*team.silenced, *given):
            continue
        # Contexts with a message after them.
        own = protocol.ancestors[level]
        wrote = (turns[level].length > 0).any(-1)
        wrote = arrays.on_tree(wrote, own, None, sizes)

        # Lengths of the pieces behind the instruction.
        shared = len(template.instruction)
        pieces = [arrays.on_tree(questions.lengths[level] - shared, (), None, sizes)]
        for index, separator in zip(template.reads, template.separators, strict=True):
            turn, above = turns[index], protocol.ancestors[index]
            length = turn.length - turn.ended + len(separator)
            pieces.append(arrays.on_tree(length, above, index, sizes))

        # Each piece once for all contexts that share it.
        total += shared * bool(wrote.any())
        piece_axes = contexts.segment_axes(team, level)[-len(pieces) :]
        for length, axes in zip(pieces, piece_axes, strict=True):
            below = tuple(1 + axis for axis in own if axis not in axes)
            total += int((length * wrote.any(below, keepdims=True)).sum())
    return total


def slots(
    team: contexts.Team,
    questions: Questions,
    turns: tuple[Turn, ...],
    given: tuple[int, ...] = (),
) -> int:
    """Slots of contexts that `sample` ran through the policy, padding included.

    Args:
        questions: B questions; only their shapes are read.
        turns, given: as in `tokens`.
    """
    total = 0
    for level, template in enumerate(team.templates):
        if level in (*team.silenced, *given):
            continue
        batch, width = questions.prompts[level].shape
        # In slots, a question is read only if a message is written after it.
        if team.max_concurrent:
            batch = int((turns[level].length > 0).any((1, 2)).sum())
        shared = len(template.instruction)
        widths = [shared, width - shared] if shared else [width]
        for index, separator in zip(template.reads, template.separators, strict=True):
            widths.append(turns[index].tokens.shape[-1] + len(separator))
        piece_axes = contexts.segment_axes(team, level)
        for width, axes in zip(widths, piece_axes, strict=True):
            total += width * math.prod(contexts.sizes(team, axes, batch))
    return total
