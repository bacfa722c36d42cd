"""Files of runs that an earlier version made, read as those of this one."""

import json

from c3jax.train import run_dir, saved_trees
from c3jax.train.record import Record
from tests import support


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


def test_a_run_that_is_older_than_a_field_goes_on_as_it_was(tmp_path):
    config, path = support.page_config(), tmp_path / run_dir.CONFIG
    assert run_dir.as_begun(tmp_path, config) is config  # there is nothing yet
    run_dir.check_or_create(tmp_path, config, {}, {})
    page = json.loads(path.read_text())
    del page["config"]["data"]["validation"]
    path.write_text(json.dumps(page))
    begun = run_dir.as_begun(tmp_path, config)
    assert begun.data.validation is None and config.data.validation == ""
    assert run_dir.check_or_create(tmp_path, begun, {}, {}) == []
    asked = support.page_config(data__validation="math/test")
    assert run_dir.as_begun(tmp_path, asked).data.validation == "math/test"
