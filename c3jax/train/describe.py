"""A config or a model in words: its fields, and the memory that it needs."""

import math
import pathlib
from collections.abc import Iterator

import jax

from c3jax.core import gguf
from c3jax.data import tokenizer
from c3jax.policy import decoder, families
from c3jax.protocol import prompts
from c3jax.setup import defaults, experiment, fields
from c3jax.train import admission, device_memory

# Characters of a value that are shown.
_SHOWN = 40


def config(given) -> str:
    """Every field of a config; a `*` marks those that are not at their default.

    Among the teams, only the run's own is listed. The end is the memory that a run
    needs with questions of the longest length, or why it cannot begin; nothing is
    downloaded for it.

    Args:
        given: the config of a run, a comparison or an audit.
    """
    section = defaults.declared(given)
    run = given.get("base", given)
    page = [f"{given.name}: {section.doc}", ""]
    width = max(len(line.name) for line in _lines(given, run))
    for line in _lines(given, run):
        mark = "*" if differs(line) else " "
        domain = f"({line.field.domain})" if str(line.field.domain) else ""
        about = f"{line.field.doc} {domain}"
        page.append(f"{mark} {line.name:{width}}  {_short(line.value):12}  {about}")
    if "protocol" in run:
        page += ["", _needs(run)]
    return "\n".join(line.rstrip() for line in page)


def differs(line: fields.Line) -> bool:
    """Whether a field has another value than by default."""
    value, default = line.value, line.field.default
    if isinstance(value, list):  # As saved.
        value = tuple(value)
    return value != default


def _lines(given, run) -> Iterator[fields.Line]:
    """The lines of a config without those of other teams."""
    teams = "base.teams." if run is not given else "teams."
    team = run["protocol"]["name"] if "protocol" in run else ""
    for line in fields.lines(defaults.declared(given), given):
        if not line.name.startswith(teams) or line.name.startswith(f"{teams}{team}."):
            yield line


def _short(value) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 2]}.."


def _needs(run) -> str:
    """A sentence about the memory of a run, if its models are on this machine."""
    policies = [run.policy, *run.policies.values()]
    if run.critic.policy:
        policies.append(run.critic.policy)
    away = [p.path for p in policies if "path" in p and not families.local(p.path)]
    if away:
        return f"{', '.join(away)} is not here, so what a run needs is not known."
    try:
        resolved = experiment.resolve(run, asks=False)
    except ValueError as error:
        return f"A run cannot begin: {error}"
    return f"{admission.estimate(resolved, device_memory.training(resolved))}."


def model(name: str) -> str:
    """The sizes, tokenizer and memory of a published model.

    Args:
        name: a directory, a GGUF, an installed package, or a name on the hub.

    Raises:
        ValueError: there is none, or the decoder does not support it.
    """
    # Files, parameters and tokenizer.
    place = families.find(name)
    published = families.read_config(place)
    shape, loaded = families.shape(published), tokenizer.load(str(place))
    sizes = decoder.over_params(lambda p: math.prod(p.shape), shape)
    count = sum(jax.tree.leaves(sizes))
    cached = 2 * shape.layers * shape.kv_heads * shape.head_dim
    ends = dict.fromkeys((loaded.eos_token_id, *families.ends(place)))
    template = prompts.chat_template(loaded)
    rotary = f"base {shape.rope_theta:g}"
    rotary += ", stretched as in Llama 3.1" if shape.stretch else ""

    # One line each.
    lines = {
        "at": str(place),
        "family": published.model_type,
        "parameters": f"{count:,}",
        "stored as": _stored(place, published),
        "layers": f"{shape.layers} of width {shape.width}, {shape.hidden} in the MLP",
        "heads": f"{shape.heads} of {shape.head_dim} numbers, {shape.kv_heads} of keys "
        "and values",
        "vocabulary": f"{shape.vocab:,}{', tied' if shape.tied else ', not tied'}",
        "positions": f"{published.max_position_embeddings:,}, rotary of {rotary}",
        "tokenizer": f"{type(loaded).__name__}, {len(loaded):,} tokens",
        "ends": ", ".join(f"{loaded.decode([i])!r} ({i})" for i in ends),
        "instruction": "the system message"
        if template.system
        else "at the beginning of the user's message",
        "thinking": "has a switch" if template.switch else "has no switch",
        "answers after": repr(template.generation_prompt),
        "memory": f"{_gib(4 * count)} of float32 parameters, {_gib(16 * count)} with "
        f"gradient and Adam's moments; a token of context takes {4 * cached:,} bytes "
        f"in float32, {2 * cached:,} in bfloat16",
    }
    width = max(map(len, lines))
    return "\n".join(
        [name, *(f"  {key:{width}}  {text}" for key, text in lines.items())]
    )


def _stored(place: pathlib.Path, published) -> str:
    """The types of a model's numbers on disk."""
    if place.suffix == gguf.SUFFIX:
        kinds = {tensor.kind for tensor in gguf.read(place).tensors.values()}
        return ", ".join(sorted(kinds))
    return str(published.dtype or "float32").removeprefix("torch.")


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

Made from `c3jax/setup/defaults.py` by `python -m c3jax describe > docs/fields.md`. Each
is a flag, such as `--config.train.lr=1e-4`. `c3jax describe math` lists those of a
page, `c3jax describe runs/math` those of a run; `c3jax describe DIR` describes a model.
"""
_TITLES = {
    "A run": defaults.EXPERIMENT,
    "A comparison": defaults.COMPARISON,
    "An audit": defaults.AUDIT,
}


def _tables(section: fields.Section, name: str, apart: set[str]) -> Iterator[str]:
    """A table of a section's fields, and then those of its sections."""
    every = section.of({})
    if name == "policy":  # A published one has a path in place of sizes.
        every = {**every, **section.of({"path": ""})}
    own = {k: field for k, field in every.items() if isinstance(field, fields.Field)}
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
