"""CoMLRL's `MAGRPOTrainer` as a peer (see `peers`): whole steps of two agents.

One turn, in which both agents answer prompts of their own: neither reads the other's
message. Each writes as many messages a question as makes the team's number in all; the
j-th of both are judged as a pair, by the second agent's. A step is one epoch over the
questions with a buffer of all, so each agent steps its AdamW once; the trainer samples
a question's messages together and learns on them one by one.

Its log-probabilities are at temperature 1, and the last token of a message is not in
its loss. Where padding is the end token, it learns on the padding, so here all messages
have one length.
"""

import os

import datasets
import numpy as np
import torch
from comlrl.trainers import reinforce

from benchmarks import numerals, peers, torch_policy


class Comlrl(peers.Peer):
    def __init__(self, case: peers.Case):
        super().__init__(case)
        if case.sampling.temperature != 1:
            raise ValueError("comlrl learns at a temperature of 1: --temperature=1")
        torch.set_num_threads(os.cpu_count())
        # It learns on one message at a time.
        self.sizes, self.micro = (1,), 1
        self._trainer = _trainer(case)

    @property
    def parameters(self) -> int:
        return sum(leaf.numel() for leaf in self._trainer.agents[0].parameters())

    @property
    def messages(self) -> int:
        trainer = self._trainer
        each = len(trainer.train_dataset) * trainer.args.num_generations
        return trainer.num_agents * each

    @property
    def pieces(self) -> int:
        return self.messages

    @property
    def copies(self) -> int:
        return self.messages

    @property
    def learned(self) -> int:
        return self.case.completion - 1

    def score(self, tokens: np.ndarray) -> np.ndarray:
        agent = self._trainer.agents[0]
        prompts = torch.tensor(self.case.prompts[: len(tokens)]).long()
        said = torch.tensor(tokens).long()
        with torch.inference_mode():
            logits = agent(input_ids=torch.cat([prompts, said], 1)).logits
        logp = torch.log_softmax(logits[:, prompts.shape[1] - 1 : -1], -1)
        return logp.gather(-1, said[..., None])[..., 0].numpy()

    def gradient(self, tokens: np.ndarray, advantage: np.ndarray) -> dict:
        trainer, before = self._trainer, self._trainer.advantage_mode
        agent = trainer.agents[0]
        given = {
            "prompt_input_ids": torch.tensor(self.case.prompts[:1]).long(),
            "completion_input_ids": [list(torch.tensor(tokens).long())],
        }
        agent.zero_grad()
        trainer.advantage_mode = "raw"
        loss = trainer._compute_loss_with_gradients(agent, given, advantage.tolist())
        # Theirs is a sum over a message's tokens.
        (loss / self.learned).backward()
        trainer.advantage_mode = before
        found = torch_policy.gradient(agent, self.case)
        agent.zero_grad()
        return found

    def step(self, judge, watch, rescore=False) -> float:
        self._trainer.judge, self._trainer.watch = judge, watch
        with watch("update"):
            self._trainer.train()
        return self._trainer.loss


class _Trainer(reinforce.MAGRPOTrainer):
    """Theirs, with a watch on sampling and scoring.

    Attributes:
        judge: whose rewards are taken.
        watch: a context manager by phase.
        loss: of the last batch of one question's messages.
    """

    judge: peers.Judge
    loss: float

    def _generate_completions(self, *args, **given):
        with self.watch("grow"):
            return super()._generate_completions(*args, **given)

    def _compute_rewards(self, *args, **given):
        with self.watch("score"):
            return super()._compute_rewards(*args, **given)

    def _compute_loss_with_gradients(self, *args):
        loss = super()._compute_loss_with_gradients(*args)
        self.loss = loss.item()
        return loss

    def reward(self, first: list[str], second: list[str]) -> list[float]:
        return self.judge.reward(numerals.read(second)).tolist()


def _trainer(case: peers.Case) -> _Trainer:
    texts = [[numerals.written(head) for head in heads] for heads in case.heads]
    questions = [
        dict(zip("01", pair, strict=True)) for pair in zip(*texts, strict=True)
    ]
    trainer = _Trainer(
        agents=[torch_policy.copied(case) for _ in case.heads],
        tokenizer=numerals.tokenizer(case.shape.vocab),
        train_dataset=datasets.Dataset.from_list(questions),
        reward_func=lambda first, second: trainer.reward(first, second),
        formatters=[lambda item: item["0"], lambda item: item["1"]],
        wandb_config=None,
        args=reinforce.MAGRPOConfig(
            num_train_epochs=1,
            num_turns=1,
            num_generations=case.messages // len(case.heads),
            max_new_tokens=case.completion,
            temperature=case.sampling.temperature,
            top_p=case.sampling.top_p,
            top_k=case.sampling.top_k,
            rollout_buffer_size=len(questions),
            agent_learning_rate=case.optimiser["lr"],
            advantage_normalization=False,
            early_termination_threshold=None,
            eval_interval=0,
            agent_devices="cpu",
        ),
    )
    trainer.verbose = False
    return trainer
