"""TRL's `GRPOTrainer` as a peer (see `peers`): whole training steps of one policy.

Its trainer runs as documented: questions from a dataset, `generate` of transformers on
prompts repeated per sibling, a reward function, its advantages, its loss over
micro-batches, AdamW. All rows of a step are sampled at once, as its defaults have it;
with more than a step's, it would also score old log-probabilities. It recomputes no
activations, which it does by default, and writes no logs or checkpoints. A step is a
call of `train` for one step; the collection of garbage that a run begins with is kept
from walking through all that exists already.
"""

import gc
import os
import tempfile

import datasets
import numpy as np
import torch
import transformers
import trl

from benchmarks import numerals, peers, torch_policy

transformers.utils.logging.set_verbosity_error()


class Trl(peers.Peer):
    def __init__(self, case: peers.Case):
        super().__init__(case)
        torch.set_num_threads(os.cpu_count())
        self._model = torch_policy.copied(case)
        self._trainers = {}
        gc.freeze()

    @property
    def parameters(self) -> int:
        return sum(leaf.numel() for leaf in self._model.parameters())

    def score(self, tokens: np.ndarray) -> np.ndarray:
        trainer, given = self._trainer(), self._inputs(tokens)
        ids = torch.cat([given["prompt_ids"], given["completion_ids"]], 1)
        with torch.inference_mode():
            logp, _, _ = trainer._get_per_token_logps_and_entropies(
                self._model, ids, torch.ones_like(ids), tokens.shape[1]
            )
        return logp.cpu().numpy()

    def gradient(self, tokens: np.ndarray, advantage: np.ndarray) -> dict:
        trainer, given = self._trainer(), self._inputs(tokens)
        given |= {
            "advantages": torch.tensor(advantage).to(trainer.accelerator.device),
            "num_items_in_batch": torch.tensor(tokens.size),
        }
        self._model.train().zero_grad()
        trainer.current_gradient_accumulation_steps = trainer.args.steps_per_generation
        trainer._compute_loss(self._model, given).backward()
        found = torch_policy.gradient(self._model, self.case)
        self._model.zero_grad()
        return found

    def step(self, judge, watch, rescore=False) -> float:
        trainer = self._trainer()
        trainer.judge, trainer.watch = judge, watch
        with watch("update"):
            return trainer.train().training_loss

    def _inputs(self, tokens: np.ndarray) -> dict[str, torch.Tensor]:
        """What its loss reads, but for advantages."""
        device = self._trainer().accelerator.device
        prompts = torch.tensor(self.case.prompts[: len(tokens)], device=device).long()
        said = torch.tensor(tokens, device=device).long()
        return {
            "prompt_ids": prompts,
            "prompt_mask": torch.ones_like(prompts),
            "completion_ids": said,
            "completion_mask": torch.ones_like(said),
        }

    def _trainer(self) -> "_Trainer":
        if self.micro not in self._trainers:
            self._trainers[self.micro] = _trainer(self.case, self._model, self.micro)
        return self._trainers[self.micro]


class _Trainer(trl.GRPOTrainer):
    """Theirs, with a watch on sampling and scoring.

    Attributes:
        case: what it is to do.
        judge: whose rewards are taken.
        watch: a context manager by phase.
    """

    case: peers.Case
    judge: peers.Judge

    def _generate(self, prompts):
        with self.watch("grow"):
            return super()._generate(prompts)

    def _calculate_rewards(self, *args):
        with self.watch("score"):
            return super()._calculate_rewards(*args)

    def reward(self, completion_ids: list[list[int]], **_) -> list[float]:
        tokens = peers.whole(np.array(completion_ids), self.case)
        return self.judge.reward(tokens).tolist()


def _trainer(case: peers.Case, model, micro: int) -> _Trainer:
    rows, given = len(case.prompts), case.optimiser
    texts = [numerals.written(head) for head in case.heads[0]]
    trainer = _Trainer(
        model=model,
        reward_funcs=lambda **columns: trainer.reward(**columns),
        processing_class=numerals.tokenizer(case.shape.vocab),
        train_dataset=datasets.Dataset.from_dict({"prompt": texts}),
        args=trl.GRPOConfig(
            output_dir=tempfile.gettempdir(),
            num_generations=case.siblings,
            max_completion_length=case.completion,
            temperature=case.sampling.temperature,
            top_p=case.sampling.top_p,
            top_k=case.sampling.top_k,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=rows // micro,
            max_steps=1,
            epsilon=case.clip,
            beta=0.0,
            scale_rewards="none",
            learning_rate=given["lr"],
            lr_scheduler_type="constant",
            adam_beta1=given["b1"],
            adam_beta2=given["b2"],
            weight_decay=given["weight_decay"],
            max_grad_norm=given["max_grad_norm"],
            bf16=case.shape.dtype != str(case.params["embed"].dtype),
            gradient_checkpointing=False,
            shuffle_dataset=False,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        ),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.case = case
    return trainer
