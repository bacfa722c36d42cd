"""What reading contexts costs: tokens, and the slots that they are padded to."""

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
    """Context tokens that `grow` ran through the policy, by the lengths that occurred.

    Each counts as often as `read` computes it, once at its own level of the tree, if a
    message was written that follows it: after the end of a talk there is none.

    Args:
        team: static description.
        questions: heads of B questions.
        turns: one a role, as grown, in NumPy arrays.
        given: levels that were not sampled.
    """
    protocol, total = team.protocol, 0
    sizes = (len(questions.uid), *protocol.branching)
    for level, script in enumerate(team.scripts):
        if level in (*team.silenced, *given):
            continue
        own = protocol.spans[level]
        wrote = (turns[level].length > 0).any(-1)
        wrote = arrays.on_tree(wrote, own, None, sizes)
        shared = len(script.told)
        pieces = [arrays.on_tree(questions.lengths[level] - shared, (), None, sizes)]
        for index, glue in zip(script.reads, script.glue, strict=True):
            turn, above = turns[index], protocol.spans[index]
            length = turn.length - turn.ended + len(glue)
            pieces.append(arrays.on_tree(length, above, index, sizes))
        total += shared * bool(wrote.any())
        over = contexts.spans(team, level)[-len(pieces) :]
        for length, span in zip(pieces, over, strict=True):
            below = tuple(1 + axis for axis in own if axis not in span)
            total += int((length * wrote.any(below, keepdims=True)).sum())
    return total


def slots(
    team: contexts.Team,
    questions: Questions,
    turns: tuple[Turn, ...],
    given: tuple[int, ...] = (),
) -> int:
    """Slots of contexts that `grow` ran through the policy, padding included.

    Args:
        team: static description.
        questions: heads of B questions; only their shapes are looked at.
        turns: one a role, as grown, in NumPy arrays.
        given: levels that were not sampled.
    """
    total = 0
    for level, script in enumerate(team.scripts):
        if level in (*team.silenced, *given):
            continue
        batch, width = questions.heads[level].shape
        if team.at_once:  # A question is read if somebody writes after it.
            batch = int((turns[level].length > 0).any((1, 2)).sum())
        shared = len(script.told)
        widths = (
            [shared] * bool(shared)
            + [width - shared]
            + [
                turns[index].tokens.shape[-1] + len(glue)
                for index, glue in zip(script.reads, script.glue, strict=True)
            ]
        )
        for width, span in zip(widths, contexts.spans(team, level), strict=True):
            total += width * math.prod(contexts.sizes(team, span, batch))
    return total
