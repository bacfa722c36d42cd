"""google-tunix as a peer (see `peers`): its Qwen3, its sampler, its GRPO loss.

The sampler is given a cache of exactly P + C slots and a top-k, without which top-p
sorts the vocabulary. The update is its loss over micro-batches in one program that
takes the state and gives it back; its own trainer, a program call a micro-batch, was
measured to need the same time.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from tunix.generate import sampler
from tunix.models.qwen3 import model as qwen3
from tunix.rl import algo_core, common
from tunix.rl.grpo import grpo_learner

from benchmarks import peers
from c3jax.learn import update
from c3jax.policy import decoder

# No token has these ids: nothing is padding, and nothing ends a message.
_PAD, _EOS = -1, -2


class Tokenizer:
    """A prompt's text is its row number."""

    def __init__(self, prompts: np.ndarray):
        self._prompts = [prompt.tolist() for prompt in prompts]

    def encode(self, text: str) -> list[int]:
        return self._prompts[int(text)]

    def decode(self, ids: list[int]) -> str:
        return ""

    def bos_id(self) -> None:
        return None

    def eos_id(self) -> int:
        return _EOS

    def pad_id(self) -> int:
        return _PAD


class Tunix(peers.Phased):
    def __init__(self, case: peers.Case):
        super().__init__(case)
        shape = case.shape
        model = _model(case)
        self._sampler = sampler.Sampler(
            model,
            Tokenizer(case.prompts),
            sampler.CacheConfig(
                cache_size=case.prompts.shape[1] + case.completion,
                num_layers=shape.layers,
                num_kv_heads=shape.kv_heads,
                head_dim=shape.head_dim,
            ),
        )
        self._graph, self._params = nnx.split(model)
        self._texts = [str(row) for row in range(len(case.prompts))]
        self._optimise = update.optimiser(**case.optimiser)
        self._algorithm = grpo_learner.GRPOConfig(beta=0.0, epsilon=case.clip)
        # Its learner, too, sets this field from outside.
        self._algorithm.temperature = case.sampling.temperature
        self._programs, self._program = {}, None

    @property
    def parameters(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(self._params))

    def sample(self) -> np.ndarray:
        case = self.case
        found = []
        for begin in range(0, len(self._texts), self.batch):
            found += self._sampler(
                input_strings=self._texts[begin : begin + self.batch],
                max_generation_steps=case.completion,
                max_prompt_length=case.prompts.shape[1],
                temperature=case.sampling.temperature,
                top_p=case.sampling.top_p,
                top_k=case.sampling.top_k or None,
                seed=begin,
            ).tokens
        return peers.whole(np.stack(found), case)

    def score(self, tokens: np.ndarray) -> np.ndarray:
        size, found = self.micro, []
        for begin in range(0, len(tokens), size):
            some = slice(begin, begin + size)
            found.append(
                common.compute_per_token_logps(
                    self._graph,
                    self._params,
                    jnp.array(self.case.prompts[some]),
                    jnp.array(tokens[some]),
                    pad_id=_PAD,
                    eos_id=_EOS,
                    temperature=self.case.sampling.temperature,
                )
            )
        return np.concatenate(jax.device_get(found))

    def update(self, tokens, advantage, old_logp=None) -> float:
        example = common.TrainExample(
            prompt_ids=jnp.array(self.case.prompts),
            prompt_mask=jnp.ones(self.case.prompts.shape, bool),
            completion_ids=jnp.array(tokens),
            completion_mask=jnp.ones(tokens.shape, bool),
            advantages=jnp.array(advantage),
            ref_per_token_logps=None,
            old_per_token_logps=None if old_logp is None else jnp.array(old_logp),
        )
        state = (self._params, self._opt_state)
        kind = (self.micro, old_logp is None)
        if kind not in self._programs:
            step = functools.partial(self._step, len(tokens) // self.micro)
            step = jax.jit(step, donate_argnums=0)
            self._programs[kind] = step.lower(state, example).compile()
        self._program = self._programs[kind]
        (self._params, self._opt_state), loss = self._program(state, example)
        # The sampler's own arrays were donated, for they were these.
        self._sampler.transformer_state = self._params
        return float(loss)

    @property
    def update_program(self) -> jax.stages.Compiled | None:
        return self._program

    @functools.cached_property
    def _opt_state(self):
        return jax.jit(self._optimise.init)(self._params)

    def _step(self, count, state, example):
        params, opt_state = state
        pieces = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), example)

        def loss(params, piece):
            return algo_core.grpo_loss_fn(
                nnx.merge(self._graph, params), piece, self._algorithm, _PAD, _EOS
            )

        def add(total, piece):
            (value, _), grads = jax.value_and_grad(loss, has_aux=True)(params, piece)
            return jax.tree.map(jnp.add, total, grads), value

        nothing = jax.tree.map(jnp.zeros_like, params)
        grads, values = jax.lax.scan(add, nothing, pieces)
        # All messages have one length, so a mean of means is the mean over tokens.
        grads = jax.tree.map(lambda x: x / count, grads)
        change, opt_state = self._optimise.update(grads, opt_state, params)
        return (optax.apply_updates(params, change), opt_state), values.mean()


def _model(case: peers.Case) -> qwen3.Qwen3:
    """Its model with c3jax's weights; left alone, its MLPs would be zeros."""
    shape, params = case.shape, case.params
    dtype = params["embed"].dtype
    model = nnx.eval_shape(lambda: qwen3.Qwen3(_config(shape, dtype), rngs=nnx.Rngs(0)))
    layers = params["layers"]
    names = {
        "input_layernorm.w": "attention_norm",
        "attn.q_proj.w": "q",
        "attn.k_proj.w": "k",
        "attn.v_proj.w": "v",
        "attn.q_norm.w": "q_norm",
        "attn.k_norm.w": "k_norm",
        "attn.o_proj.w": "o",
        "post_attention_layernorm.w": "mlp_norm",
        "mlp.gate_proj.kernel": "gate",
        "mlp.up_proj.kernel": "up",
        "mlp.down_proj.kernel": "down",
    }
    _put(model, "embedder.input_embedding", params["embed"])
    _put(model, "final_norm.w", params["final_norm"])
    for index, layer in enumerate(model.layers):
        for theirs, ours in names.items():
            _put(layer, theirs, layers[ours][index])
    return model


def _config(shape: decoder.Shape, dtype) -> qwen3.ModelConfig:
    # Its attention ignores rope_theta and always takes 1e6, which is ours, too.
    return qwen3.ModelConfig(
        num_layers=shape.layers,
        vocab_size=shape.vocab,
        embed_dim=shape.width,
        hidden_dim=shape.hidden,
        num_heads=shape.heads,
        head_dim=shape.head_dim,
        num_kv_heads=shape.kv_heads,
        rope_theta=int(shape.rope_theta),
        norm_eps=shape.norm_eps,
        use_tied_embedding=shape.tied,
        dtype=jnp.dtype(shape.dtype),
        param_dtype=dtype,
    )


def _put(module: nnx.Module, path: str, value: jax.Array) -> None:
    for name in path.split("."):
        module = getattr(module, name)
    if module.shape != value.shape:
        raise ValueError(f"{path} is {module.shape} there and {value.shape} here.")
    # A copy, because either side gives its state away.
    module.set_value(jnp.array(value, copy=True))
