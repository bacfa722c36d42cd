"""transformers and PyTorch as a peer (see `peers`): `generate`, and a step of GRPO.

Eager mode with SDPA attention on all cores. A static cache was measured to be slower
than the default one, and torch.compile not to be faster, on CPU.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers

from benchmarks import peers
from c3jax.policy import decoder


class Torch(peers.Peer):
    def __init__(self, case: peers.Case):
        super().__init__(case)
        torch.set_num_threads(os.cpu_count())
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = _model(case).to(self._device)
        self._prompts = self._tensor(case.prompts)
        # Weights in float32 and activations in bfloat16, where they differ.
        self._mixed = torch.autocast(
            self._device,
            torch.bfloat16,
            enabled=case.shape.dtype != str(case.params["embed"].dtype),
        )
        given = case.optimiser
        self._optimiser = torch.optim.AdamW(
            self._model.parameters(),
            lr=given["lr"],
            betas=(given["b1"], given["b2"]),
            weight_decay=given["weight_decay"],
            fused=True,
        )

    @property
    def parameters(self) -> int:
        return sum(leaf.numel() for leaf in self._model.parameters())

    @torch.inference_mode()
    def sample(self) -> np.ndarray:
        case = self.case
        with self._mixed:
            found = [
                self._model.generate(
                    prompts,
                    attention_mask=torch.ones_like(prompts),
                    do_sample=True,
                    temperature=case.sampling.temperature,
                    top_k=case.sampling.top_k,
                    top_p=case.sampling.top_p,
                    max_new_tokens=case.completion,
                    # There is no end token, so the maximum is the minimum, too.
                    eos_token_id=None,
                    pad_token_id=0,
                )
                for prompts in self._prompts.split(self.batch)
            ]
        tokens = torch.cat(found)[:, self._prompts.shape[1] :].cpu().numpy()
        return peers.whole(tokens, case)

    @torch.inference_mode()
    def score(self, tokens: np.ndarray) -> np.ndarray:
        size, messages = self.micro, self._tensor(tokens)
        found = [
            self._logp(slice(begin, begin + size), messages[begin : begin + size])
            for begin in range(0, len(tokens), size)
        ]
        return torch.cat(found).cpu().numpy()

    def update(self, tokens, advantage, old_logp=None) -> float:
        size, clip, total = self.micro, self.case.clip, 0.0
        messages, advantage = self._tensor(tokens), torch.tensor(advantage)
        advantage = advantage.to(self._device)[:, None]
        self._optimiser.zero_grad()
        for begin in range(0, len(tokens), size):
            some = slice(begin, begin + size)
            logp = self._logp(some, messages[some])
            old = logp.detach()
            if old_logp is not None:
                old = torch.tensor(old_logp[some]).to(self._device)
            ratio = torch.exp(logp - old)
            inside = ratio.clamp(1 - clip, 1 + clip)
            gain = torch.minimum(ratio * advantage[some], inside * advantage[some])
            loss = -gain.sum() / tokens.size
            loss.backward()
            total += loss.detach()
        weights = self._model.parameters()
        torch.nn.utils.clip_grad_norm_(weights, self.case.optimiser["max_grad_norm"])
        self._optimiser.step()
        return total.item()

    def _logp(self, some: slice, messages: torch.Tensor) -> torch.Tensor:
        """[n, C], from logits at the messages only."""
        ids = torch.cat([self._prompts[some], messages], 1)
        with self._mixed:
            found = self._model(
                input_ids=ids, logits_to_keep=messages.shape[1] + 1, use_cache=False
            )
        scores = found.logits[:, :-1].float() / self.case.sampling.temperature
        logp = torch.log_softmax(scores, -1)
        return logp.gather(-1, messages[..., None])[..., 0]

    def _tensor(self, tokens: np.ndarray) -> torch.Tensor:
        return torch.tensor(tokens, dtype=torch.int64, device=self._device)


def _model(case: peers.Case) -> transformers.Qwen3ForCausalLM:
    """Its model with c3jax's weights."""
    shape, params = case.shape, case.params
    slots = case.prompts.shape[1] + case.completion
    model = transformers.Qwen3ForCausalLM(_config(shape, slots))
    layers, width, heads = params["layers"], shape.width, shape.heads * shape.head_dim
    kv = shape.kv_heads * shape.head_dim
    names = {
        "input_layernorm": ("attention_norm", (width,)),
        "self_attn.q_proj": ("q", (width, heads)),
        "self_attn.k_proj": ("k", (width, kv)),
        "self_attn.v_proj": ("v", (width, kv)),
        "self_attn.q_norm": ("q_norm", (shape.head_dim,)),
        "self_attn.k_norm": ("k_norm", (shape.head_dim,)),
        "self_attn.o_proj": ("o", (heads, width)),
        "post_attention_layernorm": ("mlp_norm", (width,)),
        "mlp.gate_proj": ("gate", (width, shape.hidden)),
        "mlp.up_proj": ("up", (width, shape.hidden)),
        "mlp.down_proj": ("down", (shape.hidden, width)),
    }
    found = {
        "model.embed_tokens.weight": params["embed"],
        "model.norm.weight": params["final_norm"],
    }
    found["lm_head.weight"] = params["embed"]
    for index in range(shape.layers):
        for theirs, (ours, size) in names.items():
            # A linear layer there is [out, in].
            value = layers[ours][index].reshape(size).T
            found[f"model.layers.{index}.{theirs}.weight"] = value
    model.load_state_dict({name: _tensor(value) for name, value in found.items()})
    dtype = getattr(torch, str(params["embed"].dtype))
    return model.to(dtype)


def _config(shape: decoder.Shape, slots: int) -> transformers.Qwen3Config:
    return transformers.Qwen3Config(
        vocab_size=shape.vocab,
        hidden_size=shape.width,
        intermediate_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        rms_norm_eps=shape.norm_eps,
        rope_parameters={"rope_theta": shape.rope_theta, "rope_type": "default"},
        tie_word_embeddings=shape.tied,
        max_position_embeddings=slots,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        attn_implementation="sdpa",
    )


def _tensor(value: jax.Array) -> torch.Tensor:
    # By way of float32, for NumPy's bfloat16 is not known there.
    return torch.tensor(np.asarray(value.astype(jnp.float32)))
