"""prefix_grouper with transformers as a peer: a prompt is read once a group.

A group is one sequence, the prompt and then its messages. prefix_grouper splits every
layer's attention into that of prompts and that of messages after their prompts, and
copies a prompt's keys and values once per message for the latter. What it registers
with transformers by itself is for FlashAttention; for another attention its README has
a function of queries, keys and values, as here. It samples as `torch` does.
"""

import functools

import torch
import transformers
from prefix_grouper import PrefixGrouper

from benchmarks import peers, torch_peer

_NAME = "prefix_grouper_sdpa"


class Grouper(torch_peer.Torch):
    def __init__(self, case: peers.Case):
        super().__init__(case)
        whole = tuple(size for size in case.micro if size % case.siblings == 0)
        self.sizes = whole or (case.siblings,)
        self.micro = self.sizes[0]
        transformers.AttentionInterface.register(_NAME, _attention)

    @property
    def copies(self) -> int:
        return len(self.case.heads[0])

    def sample(self):
        self._model.set_attn_implementation("sdpa")
        return super().sample()

    def _logp(self, some: slice, messages: torch.Tensor) -> torch.Tensor:
        """[n, C], from logits at the messages only; n is of whole groups."""
        self._model.set_attn_implementation(_NAME)
        prompts = self._prompts[some][:: self.case.siblings]
        # Nothing is predicted from a message's last token.
        said = messages[:, :-1]
        group = self._grouper(len(prompts), said.shape[1])
        masks = [torch.ones_like(part, dtype=torch.bool) for part in (prompts, said)]
        ids = group.concat_input(prompts, masks[0], said, masks[1])
        with self._mixed:
            hidden = self._model.model(
                input_ids=ids,
                position_ids=self._positions(said.shape[1]).expand(len(prompts), -1),
                prefix_grouper=group,
                use_cache=False,
            ).last_hidden_state
            # The prompt's last token predicts the first of every message.
            hidden = group.split_output(hidden, include_prefix_last=1)[2]
            logits = self._model.lm_head(hidden)
        return self._chosen(logits, messages)

    @functools.cache  # noqa: B019, for a peer lives as long as the process
    def _grouper(self, prompts: int, said: int) -> PrefixGrouper:
        lengths = [self._prompts.shape[1], *[said] * self.case.siblings]
        # Its indices are kept for the backward pass, wherever they were made first.
        with torch.inference_mode(False):
            return PrefixGrouper([lengths] * prompts, device=self._device)

    def _positions(self, said: int) -> torch.Tensor:
        """Each message's go on from the prompt's."""
        begin = self._prompts.shape[1]
        after = torch.arange(begin, begin + said, device=self._device)
        before = torch.arange(begin, device=self._device)
        return torch.cat([before, after.repeat(self.case.siblings)])


def _attention(module, query, key, value, attention_mask, *, prefix_grouper, **given):
    """As transformers calls it; [groups, P + K (C - 1), heads, head_dim] and None."""
    attend = functools.partial(_attend, given["scaling"])
    return prefix_grouper.forward(attend, query, key, value), None


def _attend(scaling: float, query, key, value, mask) -> torch.Tensor:
    """Causal attention of the last positions; [n, length, heads, head_dim].

    The mask is of padding, of which there is none.
    """
    length, seen = query.shape[2], key.shape[2]
    below = None
    if seen != length:
        ones = torch.ones(length, seen, dtype=torch.bool, device=query.device)
        below = ones.tril(seen - length)
    found = torch.nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=below,
        is_causal=below is None,
        scale=scaling,
        # Measured to take less CPU time than copies of keys and values per head.
        enable_gqa=True,
    )
    return found.transpose(1, 2)
