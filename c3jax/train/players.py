"""Who plays the roles: the policies of a run, one for all roles or one an agent."""

import dataclasses
import pathlib
from collections.abc import Collection, Mapping

from c3jax.core import config as checks
from c3jax.core.types import Role
from c3jax.data import tokenizer
from c3jax.policy import decoder, families
from c3jax.train import defaults, fields

SHARED = "shared"


@dataclasses.dataclass(frozen=True)
class Player:
    """One policy of a run.

    Attributes:
        shape: its sizes, and how it is computed.
        model: directory or GGUF of the published model it starts from; None for ours.
        tokenizer: of `transformers`; its chat template spells what its roles read.
        ends: ids that end a message.
    """

    shape: decoder.Shape
    model: pathlib.Path | None
    tokenizer: object
    ends: tuple[int, ...]


def players(config, roles: tuple[Role, ...]) -> dict[str, Player]:
    """The policies of a config by name: "shared", or one of each agent's name.

    Args:
        config: `protocol.policies` says which, `policy` what they are, and `policies`
            what some role's is instead.
        roles: of the team.

    Raises:
        ValueError: a policy that cannot be, or two that do not share token ids.
    """
    how = config.protocol.policies
    own = dict.fromkeys(role.player for role in roles if not role.counts)
    names = [SHARED] if how == SHARED else [*own]
    for name in config.policies:
        if how == SHARED:
            raise ValueError(
                f"policies.{name} is read by nobody while protocol.policies="
                f"'{SHARED}'; set it to 'own'."
            )
        checks.pick(dict.fromkeys(names), name, "policies")
    found = {}
    for name in names:
        field = f"policies.{name}" if name in config.policies else "policy"
        given = config.policies.get(name, config.policy)
        found[name] = _player(given, field, config.data.tokenizer)
    _check_ids(found)
    return found


def learners(config, names: Mapping) -> tuple[str, ...]:
    """Names of the policies that training changes.

    Raises:
        ValueError: `train.frozen` names none of them, or all.
    """
    frozen = tuple(config.train.frozen)
    for name in frozen:
        checks.pick(names, name, "train.frozen")
    left = tuple(name for name in names if name not in frozen)
    checks.require(bool(left), "train.frozen", frozen, "less than every policy")
    if config.train.alternate and len(left) < 2:
        raise ValueError(
            f"train.alternate needs two policies that learn, there is {left}; set "
            "protocol.policies='own', or train.alternate=False."
        )
    return left


def critic(
    config, needs: Collection[str], found: Mapping[str, Player]
) -> Player | None:
    """Who guesses what a context or a message will earn, if credit asks for it.

    It reads the ids that the policies write. Unless `critic.policy` says what it is, it
    starts from the policy of the first role and has its sizes.

    Args:
        config: of the run.
        needs: fields of `Evidence` that the estimator reads; "value" and "q" are a
            critic's.
        found: the policies.

    Raises:
        ValueError: it cannot be, or does not share token ids with the policies.
    """
    if not {"value", "q"} & {*needs}:
        return None
    if not config.critic.policy:
        first = next(iter(found.values()))
        return dataclasses.replace(first, shape=first.shape.replace(adapters=None))
    own = _player(config.critic.policy, "critic.policy", config.data.tokenizer)
    if own.shape.adapters is not None:
        raise ValueError(
            f"critic.policy.adapters.rank={own.shape.adapters.rank}: a critic learns "
            "as a whole; set it to 0."
        )
    _check_ids({**found, "critic.policy": own})
    return own


def _player(given, field: str, words: str) -> Player:
    fields.check(given, defaults.POLICY, field)
    sizes = {**given, "adapters": _adapters(given.adapters, field)}
    if "path" in sizes:
        model = families.find(sizes.pop("path"))
        shape = families.shape(families.read_config(model), **sizes)
        spoken = tokenizer.load(words or str(model))
        ends = (spoken.eos_token_id, *families.ends(model))
        return Player(shape, model, spoken, tuple(dict.fromkeys(ends)))
    spoken = tokenizer.load(words)
    shape = decoder.Shape(vocab=len(spoken), **sizes)
    checks.require(
        shape.heads % shape.kv_heads == 0,
        f"{field}.heads",
        shape.heads,
        f"a multiple of {field}.kv_heads={shape.kv_heads}",
    )
    return Player(shape, None, spoken, (spoken.eos_token_id,))


def _adapters(given, field: str) -> decoder.Adapters | None:
    targets = tuple(given.targets)
    if not given.rank:
        return None
    checks.require(
        bool(targets), f"{field}.adapters.targets", targets, "one weight or more"
    )
    return decoder.Adapters(given.rank, float(given.alpha), targets)


def _check_ids(found: Mapping[str, Player]) -> None:
    """Refuses policies of different tokens: a role reads the ids another one wrote."""
    (first, reader), *others = found.items()
    ours = {i: word for word, i in reader.tokenizer.get_vocab().items()}
    for name, player in others:
        theirs = {i: word for word, i in player.tokenizer.get_vocab().items()}
        differ = [i for i in ours.keys() & theirs.keys() if ours[i] != theirs[i]]
        if differ:
            i = min(differ)
            raise ValueError(
                f"the policies of {first!r} and {name!r} do not share token ids: {i} "
                f"is {ours[i]!r} to one and {theirs[i]!r} to the other, and roles read "
                "each other's ids. Choose models with one tokenizer."
            )
