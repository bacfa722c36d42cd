"""A protocol: a graph of roles that read each other, and their branching."""

import dataclasses
import graphlib
import math
from collections.abc import Mapping

from c3jax.core import checks
from c3jax.core.types import Role


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A checked team in topological order, with its branching.

    It samples a nested tree, or a vine: one base episode, and at each of its decisions
    alternatives to the role's message, each continued on its own.

    Attributes:
        roles: every role after those it reads; the last one answers.
        branching: per role, alternatives sampled from each of its contexts.
        continuations: for a vine, how often an alternative is continued; 0 for a nested
            tree.
    """

    roles: tuple[Role, ...]
    branching: tuple[int, ...]
    continuations: int = 0

    @property
    def ancestors(self) -> tuple[tuple[int, ...], ...]:
        """Per role, its ancestors' indices: the tree axes its contexts vary over."""
        return ancestors(self.roles)

    @property
    def is_episodic(self) -> bool:
        """Whether all roles read the first one, so its alternatives are episodes."""
        return all(0 in ancestors for ancestors in self.ancestors[1:])

    def chain(self, episodes: int = 1) -> "Protocol":
        """The same team with `episodes` independent episodes per question."""
        rest = (1,) * (len(self.roles) - 1)
        return self.branched((episodes, *rest))

    def branched(self, branching: tuple[int, ...]) -> "Protocol":
        """The same team with other numbers of alternatives."""
        return dataclasses.replace(self, branching=branching, continuations=0)

    def decision(self, level: int) -> "Protocol":
        """The nested tree at one decision of a vine, (1, .., 1, K, M, 1, .., 1).

        The next role writes M messages, whether it reads this decision's role or not.
        If not, all alternatives are continued with the same messages, which only takes
        noise from their comparison.
        """
        sizes = [1] * len(self.roles)
        sizes[level] = self.branching[level]
        if level + 1 < len(sizes):
            sizes[level + 1] = self.continuations
        return self.branched(tuple(sizes))

    @property
    def trees(self) -> "tuple[Protocol, ...]":
        """The nested trees to sample: itself, or the decisions of a vine."""
        if not self.continuations:
            return (self,)
        return tuple(self.decision(level) for level in range(len(self.roles)))

    def contexts(self, level: int) -> int:
        """N, the number of contexts of a role, per question."""
        if self.continuations:
            return 1
        return math.prod(self.branching[axis] for axis in self.ancestors[level])

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
        where: the place of `fields` in a config, for messages.

    Raises:
        ValueError: an unknown field or dependency, a cycle, a message that never
            reaches the answer, not exactly one answering role, a counting role that
            does not answer, or a mark that cannot end the dialogue.
    """
    # The fields of each role by itself.
    known = {f.name for f in dataclasses.fields(Role)} - {"name"}
    for name, declared in fields.items():
        if extra := sorted(set(declared) - known):
            raise ValueError(
                f"{where}.{name} has {extra}, which no role has; "
                f"the fields are {sorted(known)}."
            )
        _check_types(declared, f"{where}.{name}")
        _check_limit(declared, f"{where}.{name}")
        for other in declared.get("depends_on", ()):
            if other not in fields:
                raise ValueError(
                    f"{where}.{name}.depends_on names {other!r}, which is not a role; "
                    f"the roles are {sorted(fields)}."
                )

    # Topological order; sorted names break ties.
    reads = {name: tuple(fields[name].get("depends_on", ())) for name in sorted(fields)}
    graph = {name: sorted(others) for name, others in reads.items()}
    try:
        order = tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        loop = " -> ".join(reversed(error.args[1]))
        raise ValueError(
            f"{where}: roles wait for each other ({loop}); remove one of these from "
            "depends_on."
        ) from None
    roles = tuple(
        Role(name=name, **{**fields[name], "depends_on": reads[name]}) for name in order
    )

    # One role answers, and all others reach it.
    answering = [role.name for role in roles if role.answers]
    if len(answering) != 1:
        raise ValueError(
            f"{where}: exactly one role answers, got {answering or 'none'}; "
            "set answers=True on one."
        )
    last = order.index(answering[0])
    unread = set(range(len(roles))) - {last, *ancestors(roles)[last]}
    if unread:
        names = sorted(order[index] for index in unread)
        raise ValueError(
            f"{where}: {names} never reach {answering[0]!r}, which answers; add them "
            "to depends_on of a role it reads."
        )
    _check_finish(roles, where)
    return roles


def _check_finish(roles: tuple[Role, ...], where: str) -> None:
    """Checks marks: a role with one has readers, and the answer is not a count."""
    for role in roles:
        mark, field = role.finishes, f"{where}.{role.name}.finishes={role.finishes!r}"
        if not mark:
            continue

        # Every tokenizer must be able to spell it.
        if not (mark.isascii() and mark.isprintable() and " " not in mark):
            raise ValueError(
                f"{field}: a mark consists of printable ASCII characters without "
                "spaces, which all tokenizers spell alike; take one such as '[FINISH]'."
            )
        if len(mark) > 255:
            raise ValueError(f"{field} has {len(mark)} characters; 255 are the most.")

        # Somebody has to be silenced by it.
        if role.answers:
            raise ValueError(
                f"{field}, but no role writes after {role.name!r}, which answers; "
                "leave it out."
            )
        if roles[-1].counts:
            raise ValueError(
                f"{field}, but {roles[-1].name!r} counts all answers, while a dialogue "
                "that may finish is scored by its last answer; leave it out."
            )


def _check_types(declared: Mapping, where: str) -> None:
    """Refuses a field of a role whose value is of another type than its default."""
    for name, value in declared.items():
        usual = "" if name == "instruction" else getattr(Role, name)
        wanted, field = type(usual), f"{where}.{name}"
        if wanted is tuple:
            said = f"a tuple, ({value!r},)" if isinstance(value, str) else "a tuple"
            checks.require(isinstance(value, tuple | list), field, value, said)
        else:
            noun = _NOUNS[wanted]
            checks.require(type(value) is wanted, field, value, noun)


_NOUNS = {str: "text", bool: "True or False", int: "a whole number"}


def _check_limit(declared: Mapping, where: str) -> None:
    """Checks that a role writes something, or else counts the answers of others."""
    if not declared.get("counts"):
        if declared.get("max_tokens", 1) < 1:
            raise ValueError(f"{where}.max_tokens must be 1 or more.")
        return
    if declared.get("max_tokens") != 0:
        raise ValueError(
            f"{where} counts and so writes nothing; set {where}.max_tokens=0."
        )
    if not (declared.get("answers") and declared.get("depends_on")):
        raise ValueError(
            f"{where} counts the answers of others; name them in depends_on, and set "
            "answers=True."
        )


def ancestors(roles: tuple[Role, ...]) -> tuple[tuple[int, ...], ...]:
    """Per role, the indices of all roles its context depends on, ascending."""
    index = {role.name: i for i, role in enumerate(roles)}
    per_role: list[tuple[int, ...]] = []
    for role in roles:
        above: set[int] = set()
        for name in role.depends_on:
            above |= {index[name], *per_role[index[name]]}
        per_role.append(tuple(sorted(above)))
    return tuple(per_role)
