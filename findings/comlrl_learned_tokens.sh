#!/usr/bin/env bash
# CoMLRL's MAGRPO does not learn the last token of a message, and learns the padding after its end.
#
# comlrl 1.4.3, torch 2.13.0, transformers 5.12.1; Python 3.11, CPU.
#
# Guess: the loss of a message is the sum over its tokens, the end token included and nothing after it.
# Seen, in MAGRPOTrainer._compute_loss_with_gradients, which train() calls with what generate() gave:
#   a message of C tokens            tokens 1 to C - 1 are in the loss; the last one is not
#   padding is the end token         where siblings are longer, all the padding but its last token is in the loss
# A model without a padding token, as many have none, gets the end token for it from the trainer itself. Of
# messages that end by themselves, the longest of a group is the one whose end is not learned; a shorter one is
# also rewarded for ends that follow its end, once for each.
# IAC, MAAC and the trainers of preferences were not looked into.
#
# Exit 0: all as described; 1: something has changed.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check comlrl==1.4.3 torch==2.13.0 transformers==5.12.1

cat >"$place/check.py" <<'PYTHON'
import sys

import datasets
import tokenizers
import torch
import transformers
from comlrl.trainers import reinforce

END, LENGTH = 1, 12
words = {"?": 0, "end": END} | {f"w{i}": i for i in range(2, 16)}
backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="?"))
backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
tokenizer = transformers.PreTrainedTokenizerFast(
    tokenizer_object=backend, eos_token="end"
)


class Spy(reinforce.MAGRPOTrainer):
    """Keeps what its loss was given, and the loss of each message by itself."""

    def _compute_loss_with_gradients(self, agent, data, returns):
        seen.extend(message.tolist() for message in data["completion_input_ids"][0])
        prompts.append(data["prompt_input_ids"][0].tolist())
        for message in data["completion_input_ids"][0]:
            alone = {**data, "completion_input_ids": [[message]]}
            self.advantage_mode = "raw"
            losses.append(super()._compute_loss_with_gradients(agent, alone, [1.0]))
        self.advantage_mode = "mean"
        return super()._compute_loss_with_gradients(agent, data, returns)


def trained(ends):
    """Runs an epoch of one question; what the loss had."""
    torch.manual_seed(0)
    model = transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(
            vocab_size=16,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            eos_token_id=END if ends else None,
            pad_token_id=END,
        )
    )
    for kept in (seen, prompts, losses):
        kept.clear()
    args = reinforce.MAGRPOConfig(
        num_agents=1,
        num_turns=1,
        num_train_epochs=1,
        num_generations=4,
        max_new_tokens=LENGTH,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        agent_learning_rate=1e-30,
        eval_interval=0,
        agent_devices="cpu",
    )
    trainer = Spy(
        agents=[model],
        tokenizer=tokenizer,
        reward_func=lambda texts: [float(len(text)) for text in texts],
        train_dataset=datasets.Dataset.from_list([{"prompt": "w2 w3 w4"}]),
        args=args,
    )
    trainer.train()
    return model


def logp(model, prompt, message):
    ids = torch.tensor([prompt + message])
    scores = torch.log_softmax(model(ids).logits[0, len(prompt) - 1 : -1], -1)
    return scores[range(len(message)), message]


def check(what, holds):
    global status
    print(f"{'as described' if holds else 'CHANGED     '} {what}")
    status |= not holds


def same(a, b):
    return torch.allclose(a, b, atol=1e-4)


status, seen, prompts, losses = 0, [], [], []
model = trained(ends=False)
each = [logp(model, prompts[0], message) for message in seen]
pairs = list(zip(losses, each, strict=True))
check("all but the last token learned", all(same(-x, y[:-1].sum()) for x, y in pairs))
check("the last token not learned", not any(same(-x, y.sum()) for x, y in pairs))

model = trained(ends=True)
each = [logp(model, prompts[0], message) for message in seen]
firsts = [m.index(END) if END in m else len(m) for m in seen]
padded = [i for i, first in enumerate(firsts) if first < len(seen[i]) - 2]
check("padding is the end token", tokenizer.pad_token_id == END)
check(f"{len(padded)} messages are padded", bool(padded))
for i in padded:
    print("   ", seen[i])
    ended = same(-losses[i], each[i][: firsts[i] + 1].sum())
    check("the padding learned", same(-losses[i], each[i][:-1].sum()) and not ended)
sys.exit(status)
PYTHON
TRANSFORMERS_VERBOSITY=error "$place/venv/bin/python" "$place/check.py"
