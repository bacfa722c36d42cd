"""The policies of a run: one for all roles, or one for each agent."""

import dataclasses
import pathlib
from collections.abc import Collection, Mapping

from c3jax.core import checks
from c3jax.core.types import Role
from c3jax.data import tokenizer
from c3jax.policy import decoder, families, low_rank
from c3jax.protocol import prompts
from c3jax.setup import defaults, fields

SHARED = "shared"


@dataclasses.dataclass(frozen=True)
class PolicySpec:
    """One policy of a run.

    Attributes:
        shape: its sizes, and how it is computed.
        model: directory or GGUF of the published model it starts from; None for ours.
        tokenizer: of `transformers`; its chat template formats what its roles read.
        ends: ids that end a message.
    """

    shape: decoder.Shape
    model: pathlib.Path | None
    tokenizer: object
    ends: tuple[int, ...]


def policies(config, roles: tuple[Role, ...]) -> dict[str, PolicySpec]:
    """The policies of a config by name: "shared", or each agent's name.

    Args:
        config: `protocol.policies`, `policy`, and `policies` for exceptions are read.

    Raises:
        ValueError: a policy is invalid, or two do not share token ids.
    """
    how = config.protocol.policies
    own = dict.fromkeys(role.policy_name for role in roles if not role.counts)
    names = [SHARED] if how == SHARED else [*own]
    for name in config.policies:
        if how == SHARED:
            raise ValueError(
                f"policies.{name} is read by nobody while protocol.policies="
                f"'{SHARED}'; set it to 'own'."
            )
        checks.pick(dict.fromkeys(names), name, "policies")

    # A role's own section, or the one for all.
    specs = {}
    for name in names:
        field = f"policies.{name}" if name in config.policies else "policy"
        given = config.policies.get(name, config.policy)
        specs[name] = _policy(given, field, config.data.tokenizer)
    _check_ids(specs)
    return specs


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
    config, needs: Collection[str], found: Mapping[str, PolicySpec]
) -> PolicySpec | None:
    """The critic's model, if the estimator needs a critic.

    The critic reads the ids that the policies write. Unless `critic.policy` is given,
    it starts from the policy of the first role and has its sizes.

    Args:
        config: `critic.policy` is read.
        needs: fields of `Evidence` that the estimator reads; "value" and "q" are a
            critic's.
        found: the policies.

    Raises:
        ValueError: it is invalid, or does not share token ids with the policies.
    """
    if not {"value", "q"} & {*needs}:
        return None
    if not config.critic.policy:
        first = next(iter(found.values()))
        return dataclasses.replace(first, shape=first.shape.replace(adapters=None))
    own = _policy(config.critic.policy, "critic.policy", config.data.tokenizer)
    if own.shape.adapters is not None:
        raise ValueError(
            f"critic.policy.adapters.rank={own.shape.adapters.rank}: a critic learns "
            "as a whole; set it to 0."
        )
    _check_ids({**found, "critic.policy": own})
    return own


def _policy(given, field: str, words: str) -> PolicySpec:
    fields.check(given, defaults.POLICY, field)
    sizes = {**given, "adapters": _adapters(given.adapters, field)}
    # A published model.
    if "path" in sizes:
        model, named = families.find(sizes.pop("path")), sizes.pop("end_tokens")
        shape = families.shape(families.read_config(model), **sizes)
        loaded = tokenizer.load(words or str(model))
        ends = (loaded.eos_token_id, *families.ends(model), *prompts.closing(loaded))
        ends += tuple(_id(loaded, name, field) for name in named)
        _check_table(loaded, shape, f"{field}.path={str(model)!r}")
        return PolicySpec(shape, model, loaded, tuple(dict.fromkeys(ends)))

    # One of our own, by its sizes.
    loaded = tokenizer.load(words)
    shape = decoder.Shape(vocab=len(loaded), **sizes)
    checks.require(
        shape.heads % shape.kv_heads == 0,
        f"{field}.heads",
        shape.heads,
        f"a multiple of {field}.kv_heads={shape.kv_heads}",
    )
    return PolicySpec(shape, None, loaded, (loaded.eos_token_id,))


def _adapters(given, field: str) -> low_rank.Adapters | None:
    targets = tuple(given.targets)
    if not given.rank:
        return None
    checks.require(
        bool(targets), f"{field}.adapters.targets", targets, "one weight or more"
    )
    return low_rank.Adapters(given.rank, float(given.alpha), targets)


def _id(loaded, name: str, field: str) -> int:
    """The id of an end token that a config names."""
    table, added = loaded.get_vocab(), loaded.get_added_vocab()
    if name not in table:
        near = checks.suggest(name, added)
        raise ValueError(f"{field}.end_tokens: {name!r} is no token here; {near}")
    return table[name]


def _check_table(loaded, shape: decoder.Shape, field: str) -> None:
    """Refuses a tokenizer with an id that the model has no embedding for."""
    word, last = max(loaded.get_vocab().items(), key=lambda entry: entry[1])
    if last >= shape.vocab:
        raise ValueError(
            f"{field}: its embedding has {shape.vocab} rows, and the tokenizer has "
            f"{word!r} as token {last}; give this model's own as data.tokenizer."
        )


def _check_ids(found: Mapping[str, PolicySpec]) -> None:
    """Refuses policies with different token ids: roles read each other's ids."""
    (first, reader), *others = found.items()
    ours = {i: word for word, i in reader.tokenizer.get_vocab().items()}
    for name, spec in others:
        theirs = {i: word for word, i in spec.tokenizer.get_vocab().items()}
        differ = [i for i in ours.keys() & theirs.keys() if ours[i] != theirs[i]]
        if differ:
            i = min(differ)
            raise ValueError(
                f"the policies of {first!r} and {name!r} do not share token ids: {i} "
                f"is {ours[i]!r} to one and {theirs[i]!r} to the other, and roles read "
                "each other's ids. Choose models with one tokenizer."
            )
