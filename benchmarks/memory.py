"""What a run of a published page needs on each device, phase by phase, in GiB.

    python -m benchmarks.memory [--page=math:qwen3_4b] [--mesh=1,8,1] [FIELD=VALUE ..]

By the sizes of the model alone: nothing is allocated, no weights, words or questions of
a published model are needed but those of `math:smollm2`, and devices are simulated.
Questions are taken to be as long as `data.prompt_tokens` allows. The mesh is data,
fsdp, tensor. Without flags, the commands of docs/scale.md.
"""

import argparse
import json
import math
import pathlib
import tempfile

import jax
import tokenizers
import transformers

from benchmarks import bench
from c3jax.configs import code
from c3jax.configs import math as maths
from c3jax.core import sharding
from c3jax.setup import experiment
from c3jax.train import admission, device_memory

# As their config.json say, which have more fields.
_QWEN2 = dict(
    model_type="qwen2",
    hidden_size=2048,
    num_hidden_layers=36,
    num_attention_heads=16,
    num_key_value_heads=2,
    intermediate_size=11008,
    vocab_size=151_936,
    max_position_embeddings=32_768,
    tie_word_embeddings=True,
)
SIZES = {
    "math:qwen3_4b": dict(
        model_type="qwen3",
        hidden_size=2560,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=9728,
        vocab_size=151_936,
        max_position_embeddings=262_144,
        tie_word_embeddings=True,
    ),
    "math:qwen2_5_3b": _QWEN2,
    "code:qwen2_5_coder_3b": _QWEN2,
}
# Page, mesh, fields that are changed.
README = (
    ("math:qwen3_4b", (1, 8, 1), ("policy.adapters.rank=16",)),
    ("math:qwen3_4b", (4, 8, 1), ("train.grad_accumulation=1",)),
    ("math:qwen3_4b", (1, 8, 1), ()),
    ("code:qwen2_5_coder_3b", (1, 8, 1), ()),
)
# A page whose model is an installed package.
INSTALLED = "math:smollm2"
# Any template and words will do: contexts are as long as they may be.
TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)


def write(directory: pathlib.Path, sizes: dict) -> None:
    """A model's config and some tokenizer, as a directory of it has them."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocab = {word: i for i, word in enumerate(["<s>", "</s>", *alphabet])}
    words = tokenizers.Tokenizer(tokenizers.models.BPE(vocab, []))
    words.add_special_tokens(["<s>", "</s>"])
    words.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = tokenizers.decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="</s>", chat_template=TEMPLATE
    ).save_pretrained(directory)
    config = transformers.AutoConfig.for_model(**sizes)
    (directory / "config.json").write_text(json.dumps(config.to_dict()))


def resolved(page: str, mesh: tuple[int, ...], changes: tuple[str, ...]):
    """The setup of a page on so many simulated devices."""
    name, model = page.split(":")
    c = {"math": maths, "code": code}[name].get_config(model)
    with tempfile.TemporaryDirectory() as place, c.unlocked():
        if page != INSTALLED:
            write(pathlib.Path(place), SIZES[page])
            c.policy.path = c.data.tokenizer = place
            # Questions that are generated may be as long as is allowed.
            c.data.update(task="arithmetic", train=(), test="")
        c.mesh.update(dict(zip(sharding.AXES, mesh, strict=True)))
        c.update_from_flattened_dict(
            {
                field: json.loads(value)
                for field, value in (change.split("=", 1) for change in changes)
            }
        )
        return experiment.resolve(c, jax.devices()[: math.prod(mesh)])


def row(page: str, mesh: tuple[int, ...], changes: tuple[str, ...]) -> dict:
    """What the phases of a run need, and the largest in parts."""
    phases = device_memory.training(resolved(page, mesh, changes))
    phases.pop("saving", None)  # By a CPU, which these devices are not.
    worst = admission.Estimate(phases).worst
    shown = ", ".join(
        f"{axis} {n}" for axis, n in zip(sharding.AXES, mesh, strict=True) if n > 1
    )
    return {
        "side": ", ".join([page, shown or "one device", *changes]),
        **{f"{n} GiB": sum(parts.values()) / 2**30 for n, parts in phases.items()},
        "most in": worst,
        "of which": ", ".join(
            f"{part} {n / 2**30:.2g}"
            for part, n in phases[worst].items()
            if n > 2**30 / 20
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--page", choices=[*SIZES, INSTALLED])
    parser.add_argument("--mesh", type=bench.numbers, default=(1, 1, 1))
    parser.add_argument("--json", type=pathlib.Path, help="append the result here")
    parser.add_argument("changes", nargs="*", metavar="FIELD=VALUE")
    args = parser.parse_args()
    asked = README
    if args.page:
        asked = ((args.page, args.mesh, tuple(args.changes)),)
    most = max(math.prod(mesh) for _, mesh, _ in asked)
    jax.config.update("jax_num_cpu_devices", most)
    bench.finish(args, "memory", [row(*each) for each in asked])


if __name__ == "__main__":
    main()
