"""transformers and PyTorch as a peer (see `peers`): `generate`, and a step of GRPO.

Eager mode with SDPA attention on all cores. A static cache was measured to be slower
than the default one, and torch.compile not to be faster, on CPU.
"""

import os

import numpy as np
import torch

from benchmarks import peers, torch_policy


class Torch(peers.Phased):
    def __init__(self, case: peers.Case):
        super().__init__(case)
        torch.set_num_threads(os.cpu_count())
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = torch_policy.copied(case).to(self._device)
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

    def gradient(self, tokens, advantage) -> dict:
        self._descend(tokens, advantage, None)
        return torch_policy.gradient(self._model, self.case)

    def update(self, tokens, advantage, old_logp=None) -> float:
        loss = self._descend(tokens, advantage, old_logp)
        weights = self._model.parameters()
        torch.nn.utils.clip_grad_norm_(weights, self.case.optimiser["max_grad_norm"])
        self._optimiser.step()
        return loss

    def _descend(self, tokens, advantage, old_logp) -> float:
        """The loss of GRPO, whose gradient the weights then have."""
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
        return total.item()

    def _logp(self, some: slice, messages: torch.Tensor) -> torch.Tensor:
        """[n, C], from logits at the messages only."""
        ids = torch.cat([self._prompts[some], messages], 1)
        with self._mixed:
            found = self._model(
                input_ids=ids, logits_to_keep=messages.shape[1] + 1, use_cache=False
            )
        return self._chosen(found.logits[:, :-1], messages)

    def _chosen(self, logits: torch.Tensor, messages: torch.Tensor) -> torch.Tensor:
        """[n, C] log-probabilities of messages under [n, C, V] logits."""
        scores = logits.float() / self.case.sampling.temperature
        logp = torch.log_softmax(scores, -1)
        return logp.gather(-1, messages[..., None])[..., 0]

    def _tensor(self, tokens: np.ndarray) -> torch.Tensor:
        return torch.tensor(tokens, dtype=torch.int64, device=self._device)
