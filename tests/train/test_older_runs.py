"""Files of runs that an earlier version made, read as those of this one."""

import json

from c3jax.train import saved_trees
from c3jax.train.record import Record


def test_a_record_without_the_newest_counts_is_read():
    spent = {"evaluator_calls": 64, "malformed": 3, "generated_tokens": 966}
    seen = {"spread": [[0.1, 0.2]], "tokens": [[3.0]], "weight": 1.0, "chosen": [4, 2]}
    old = {"seed": 0, "step": 2, "next_index": 8, "evaluated": 2, "crossed": {}}
    old |= {"ledger": {"train": spent, "seconds": {"update": 2.0}}, "seen": seen}
    record = Record.from_json(old)
    assert record.ledger.train.evaluator_calls == 64
    assert record.ledger.train.prefilled_slots == 0  # not counted then
    assert record.seen.components == ([0.1, 0.2],)


def test_trees_of_a_comb_are_those_of_the_decisions_of_a_vine(tmp_path):
    path = tmp_path / "trees.jsonl"
    path.write_text(json.dumps({"tooth": "actor", "reward": [[0.0, 1.0]]}) + "\n")
    assert saved_trees.load(path) == [{"decision": "actor", "reward": [[0.0, 1.0]]}]
