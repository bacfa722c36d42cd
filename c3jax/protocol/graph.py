"""A protocol: which role reads which, and how many alternatives each one gets."""

import dataclasses
import graphlib
import math
from collections.abc import Mapping

from c3jax.core.types import Role


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A checked team in topological order, with its branching.

    It plays a nested tree, or a comb: one base episode, and at each of its decisions
    alternatives to what the role said there, which go on by themselves.

    Attributes:
        roles: every role after those it reads; the last one answers.
        branching: alternatives sampled from each context of a role.
        continuations: of a comb, how often the team goes on from an alternative; 0 for
            a nested tree.
    """

    roles: tuple[Role, ...]
    branching: tuple[int, ...]
    continuations: int = 0

    @property
    def spans(self) -> tuple[tuple[int, ...], ...]:
        """Per role, its ancestors' indices: the tree axes its contexts vary over."""
        return ancestors(self.roles)

    @property
    def is_episodic(self) -> bool:
        """Whether what all say differs between alternatives of the first role."""
        return all(0 in span for span in self.spans[1:])

    def chain(self, episodes: int = 1) -> "Protocol":
        """The same team playing `episodes` independent episodes per question."""
        rest = (1,) * (len(self.roles) - 1)
        return self.branched((episodes, *rest))

    def branched(self, branching: tuple[int, ...]) -> "Protocol":
        """The same team with other numbers of alternatives."""
        return dataclasses.replace(self, branching=branching, continuations=0)

    def tooth(self, level: int) -> "Protocol":
        """The nested tree that a comb is at one decision, (1, .., 1, K, M, 1, .., 1).

        The next role speaks M times, whoever it reads. If that is not the role of this
        decision, all its alternatives go on with the same messages, which takes nothing
        from their comparison but noise.
        """
        sizes = [1] * len(self.roles)
        sizes[level] = self.branching[level]
        if level + 1 < len(sizes):
            sizes[level + 1] = self.continuations
        return self.branched(tuple(sizes))

    @property
    def trees(self) -> "tuple[Protocol, ...]":
        """The nested trees it is grown as: itself, or the teeth of a comb."""
        if not self.continuations:
            return (self,)
        return tuple(self.tooth(level) for level in range(len(self.roles)))

    def contexts(self, level: int) -> int:
        """N, the number of contexts per question that a role's alternatives are of."""
        if self.continuations:
            return 1
        return math.prod(self.branching[axis] for axis in self.spans[level])

    @property
    def leaves(self) -> int:
        """Answers scored per question."""
        if self.continuations:
            return sum(tree.leaves for tree in self.trees)
        return math.prod(self.branching)


def team(fields: Mapping[str, Mapping], where: str = "roles") -> tuple[Role, ...]:
    """Roles in topological order, ties broken by name.

    Args:
        fields: name -> the other fields of `Role`.
        where: how a config calls `fields`, for messages.

    Raises:
        ValueError: an unknown field or dependency, a cycle, a message nobody reads,
            not exactly one answering role, another one that counts, or a talk that is
            finished by whom nobody hears.
    """
    known = {f.name for f in dataclasses.fields(Role)} - {"name"}
    for name, given in fields.items():
        if extra := sorted(set(given) - known):
            raise ValueError(
                f"{where}.{name} has {extra}, which no role has; "
                f"the fields are {sorted(known)}."
            )
        _check_limit(given, f"{where}.{name}")
        for other in given.get("depends_on", ()):
            if other not in fields:
                raise ValueError(
                    f"{where}.{name}.depends_on names {other!r}, which is not a role; "
                    f"the roles are {sorted(fields)}."
                )
    graph = {
        name: sorted(fields[name].get("depends_on", ())) for name in sorted(fields)
    }
    try:
        order = tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        loop = " -> ".join(reversed(error.args[1]))
        raise ValueError(
            f"{where}: roles wait for each other ({loop}); remove one of these from "
            "depends_on."
        ) from None
    roles = tuple(
        Role(
            name=name,
            **{**fields[name], "depends_on": tuple(fields[name]["depends_on"])},
        )
        for name in order
    )
    answering = [role.name for role in roles if role.answers]
    if len(answering) != 1:
        raise ValueError(
            f"{where}: exactly one role answers, got {answering or 'none'}; "
            "set answers=True on one."
        )
    unread = set(range(len(roles))) - {order.index(answering[0])}
    unread -= set(ancestors(roles)[order.index(answering[0])])
    if unread:
        names = sorted(order[index] for index in unread)
        raise ValueError(
            f"{where}: {names} never reach {answering[0]!r}, which answers; add them "
            "to depends_on of a role it reads."
        )
    _check_finish(roles, where)
    return roles


def _check_finish(roles: tuple[Role, ...], where: str) -> None:
    """Who ends a talk is read by others, and there is an answer without a count."""
    for role in roles:
        mark, field = role.finishes, f"{where}.{role.name}.finishes={role.finishes!r}"
        if not mark:
            continue
        if not (mark.isascii() and mark.isprintable() and " " not in mark):
            raise ValueError(
                f"{field}: a mark is of printable ASCII characters without spaces, "
                "which all tokenizers spell alike; take one such as '[FINISH]'."
            )
        if len(mark) > 255:
            raise ValueError(f"{field} has {len(mark)} characters; 255 are the most.")
        if role.answers:
            raise ValueError(
                f"{field}, but nobody speaks after {role.name!r}, which answers; "
                "leave it out."
            )
        if roles[-1].counts:
            raise ValueError(
                f"{field}, but {roles[-1].name!r} counts what all answer, while of a "
                "talk that may finish the last answer is scored; leave it out."
            )


def _check_limit(given: Mapping, where: str) -> None:
    """A role writes something, or else it counts what others answer."""
    if not given.get("counts"):
        if given.get("max_tokens", 1) < 1:
            raise ValueError(f"{where}.max_tokens must be 1 or more.")
        return
    if given.get("max_tokens") != 0:
        raise ValueError(
            f"{where} counts and so writes nothing; set {where}.max_tokens=0."
        )
    if not (given.get("answers") and given.get("depends_on")):
        raise ValueError(
            f"{where} counts the answers of others; name them in depends_on, and set "
            "answers=True."
        )


def ancestors(roles: tuple[Role, ...]) -> tuple[tuple[int, ...], ...]:
    """Per role, the indices of all roles its context depends on, ascending."""
    index = {role.name: i for i, role in enumerate(roles)}
    found: list[tuple[int, ...]] = []
    for role in roles:
        above: set[int] = set()
        for name in role.depends_on:
            above |= {index[name], *found[index[name]]}
        found.append(tuple(sorted(above)))
    return tuple(found)
