"""What a config or a model is, in words: each field, and what is needed."""

import math
import pathlib
from collections.abc import Iterator

import jax

from c3jax.core import gguf
from c3jax.data import tokenizer
from c3jax.policy import decoder, families
from c3jax.protocol import prompts
from c3jax.train import admission, defaults, fields, memory, setup

# Characters of a value that are shown.
_SHOWN = 40


def config(given) -> str:
    """Every field of a config; `*` is before those that are not at their default.

    Of the teams it tells the one that plays. At the end is what a run needs of a
    device with questions as long as they may be, or why it cannot begin; nothing is
    downloaded to know it.

    Args:
        given: of a run, a comparison or an audit.
    """
    section = defaults.declared(given)
    run = given.get("base", given)
    told = [f"{given.name}: {section.doc}", ""]
    width = max(len(line.name) for line in _lines(given, run))
    for line in _lines(given, run):
        mark = "*" if differs(line) else " "
        domain = f"({line.field.domain})" if str(line.field.domain) else ""
        about = f"{line.field.doc} {domain}"
        told.append(f"{mark} {line.name:{width}}  {_short(line.value):12}  {about}")
    if "protocol" in run:
        told += ["", _needs(run)]
    return "\n".join(line.rstrip() for line in told)


def differs(line: fields.Line) -> bool:
    """Whether a field has another value than by default."""
    value, default = line.value, line.field.default
    if isinstance(value, list):  # As saved.
        value = tuple(value)
    return value != default


def _lines(given, run) -> Iterator[fields.Line]:
    teams = "base.teams." if run is not given else "teams."
    played = run["protocol"]["name"] if "protocol" in run else ""
    for line in fields.lines(defaults.declared(given), given):
        if not line.name.startswith(teams) or line.name.startswith(f"{teams}{played}."):
            yield line


def _short(value) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 2]}.."


def _needs(run) -> str:
    critic = run.critic.policy
    policies = [run.policy, *run.policies.values(), *([critic] if critic else [])]
    away = [p.path for p in policies if "path" in p and not families.local(p.path)]
    if away:
        return f"{', '.join(away)} is not here, so what a run needs is not known."
    try:
        resolved = setup.resolve(run, asks=False)
    except ValueError as error:
        return f"A run cannot begin: {error}"
    return f"{admission.estimate(resolved, memory.training(resolved))}."


def model(name: str) -> str:
    """What a published model is, and what it takes.

    Args:
        name: a directory, a GGUF, an installed package, or a name on the hub.

    Raises:
        ValueError: there is none, or one that the decoder is not.
    """
    place = families.find(name)
    found = families.read_config(place)
    shape, spoken = families.shape(found), tokenizer.load(str(place))
    count = sum(
        jax.tree.leaves(decoder.over_params(lambda p: math.prod(p.shape), shape))
    )
    cached = 2 * shape.layers * shape.kv_heads * shape.head_dim
    ends = dict.fromkeys((spoken.eos_token_id, *families.ends(place)))
    template = prompts.template(spoken)
    rotary = f"base {shape.rope_theta:g}"
    rotary += ", stretched as in Llama 3.1" if shape.stretch else ""
    told = {
        "at": str(place),
        "family": found.model_type,
        "parameters": f"{count:,}",
        "stored as": _stored(place, found),
        "layers": f"{shape.layers} of width {shape.width}, {shape.hidden} in the MLP",
        "heads": f"{shape.heads} of {shape.head_dim} numbers, {shape.kv_heads} of keys "
        "and values",
        "vocabulary": f"{shape.vocab:,}{', tied' if shape.tied else ', not tied'}",
        "positions": f"{found.max_position_embeddings:,}, rotary of {rotary}",
        "tokenizer": f"{type(spoken).__name__}, {len(spoken):,} tokens",
        "ends": ", ".join(f"{spoken.decode([i])!r} ({i})" for i in ends),
        "instruction": "the system message"
        if template.system
        else "at the beginning of the user's message",
        "thinking": "has a switch" if template.switch else "has no switch",
        "answers after": repr(template.opener),
        "memory": f"{_gib(4 * count)} of float32 parameters, {_gib(16 * count)} with "
        f"gradient and Adam's moments; a token of context takes {4 * cached:,} bytes "
        f"in float32, {2 * cached:,} in bfloat16",
    }
    width = max(map(len, told))
    return "\n".join(
        [name, *(f"  {key:{width}}  {text}" for key, text in told.items())]
    )


def _stored(place: pathlib.Path, found) -> str:
    if place.suffix == gguf.SUFFIX:
        kinds = {tensor.kind for tensor in gguf.read(place).tensors.values()}
        return ", ".join(sorted(kinds))
    return str(found.dtype or "float32").removeprefix("torch.")


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"


def tables() -> str:
    """Every field of every config, as Markdown."""
    parts = [_HEAD]
    for title, section in _TITLES.items():
        parts.append(f"## {title}\n\n{_sentence(section.doc)}\n")
        parts += _tables(section, "", {"base"})
    return "\n".join(parts)


_HEAD = """# Fields of a config

Made from `c3jax/train/defaults.py` by `python -m c3jax describe > docs/fields.md`. Each
is a flag, such as `--config.train.lr=1e-4`. `c3jax describe math` tells those of a
page, `c3jax describe runs/math` those of a run, and `c3jax describe DIR` what a model
is.
"""
_TITLES = {
    "A run": defaults.EXPERIMENT,
    "A comparison": defaults.COMPARISON,
    "An audit": defaults.AUDIT,
}


def _tables(section: fields.Section, name: str, apart: set[str]) -> Iterator[str]:
    """A table of a section's fields, and then those of its sections."""
    # One that is published has a path in place of sizes.
    every = {**section.of({}), **(section.of({"path": ""}) if name == "policy" else {})}
    own = {k: each for k, each in every.items() if not isinstance(each, fields.Section)}
    if own:
        yield "| field | default | | may be |\n| --- | --- | --- | --- |"
        for key, field in own.items():
            where = f"{name}.{key}" if name else key
            cells = (f"`{where}`", f"`{field.default!r}`", field.doc, field.domain)
            yield f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"
        yield ""
    for key, inner in every.items():
        if isinstance(inner, fields.Section):
            where = f"{name}.{key}" if name else key
            yield f"### `{where}`\n\n{_sentence(inner.doc)}\n"
            if key not in apart:
                yield from _tables(inner, where, apart)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
