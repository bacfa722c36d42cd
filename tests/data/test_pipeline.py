import collections

import pytest

from c3jax.data import pipeline, problems


def batch(ordered, begin, size):
    return pipeline.Batches(ordered, size)[begin]


def test_the_order_of_questions_is_a_function_of_the_seed_alone():
    source = range(50)
    one, again = pipeline.order(source, 3), pipeline.order(source, 3)
    assert batch(one, 56, 8) == batch(again, 56, 8)
    assert batch(one, 56, 8)[4:] == batch(one, 60, 4)
    assert batch(one, 0, 8) != batch(pipeline.order(source, 4), 0, 8)


def test_the_order_of_generated_questions_does_not_move():
    ordered = pipeline.order(problems.Problems("train"), 0)
    # Pinned: another order would change every run.
    assert [item.uid for item in batch(ordered, 0, 4)] == [31105, 2851, 35587, 53747]


def test_an_epoch_holds_every_question_once_and_the_next_is_shuffled_anew():
    ordered = pipeline.order(range(50), 0)
    first, second = batch(ordered, 0, 50), batch(ordered, 50, 50)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second


@pytest.mark.parametrize("weights", [(), (3, 1)])
def test_processes_part_every_batch_of_one_order_among_them(weights):
    source = pipeline.Mixture([range(30), range(100, 120)], weights)
    ordered = pipeline.order(source, 1)
    whole = pipeline.Batches(ordered, 6)
    for rows in ([0, 1], [5, 2], [3, 4]):
        some = pipeline.Batches(ordered, 6, rows)
        for begin in (0, 6, 30):
            assert some[begin] == [whole[begin][row] for row in rows]


def test_a_mixture_is_one_sequence_of_its_parts():
    mixed = pipeline.Mixture([range(3), range(10, 12)])
    assert list(mixed) == [0, 1, 2, 10, 11]
    with pytest.raises(IndexError, match="5 items, not 5"):
        mixed[5]
    # Without weights every question comes equally often.
    epoch = batch(pipeline.order(mixed, 0), 0, 5)
    assert sorted(epoch) == [0, 1, 2, 10, 11]


def test_a_mixture_draws_from_its_parts_by_weight_at_any_time():
    parts = [range(1000), range(1000, 1010), range(2000, 2050)]
    ordered = pipeline.order(pipeline.Mixture(parts, (0.7, 0.1, 0.2)), 5)
    for begin in (0, 12345):
        drawn = collections.Counter(n // 1000 for n in batch(ordered, begin, 150))
        for part, share in enumerate((0.7, 0.1, 0.2)):
            assert abs(drawn[part] - 150 * share) <= 2
    # Each part is shuffled, and is through before it is drawn from again.
    small = [n for n in batch(ordered, 0, 150) if n // 1000 == 1]
    assert sorted(small[:10]) == list(parts[1]) != small[:10]


def test_one_can_go_on_from_any_place():
    source = pipeline.Mixture([range(30), range(100, 120)], (2, 1))
    whole = batch(pipeline.order(source, 9), 0, 110)
    batches = pipeline.Batches(pipeline.order(source, 9), 7)
    for begin in (0, 7, 14, 100, 3, 10, 103):
        assert batches[begin] == whole[begin : begin + 7]


def test_reading_ahead_reads_each_item_once():
    read = []

    class Counted:
        def __getitem__(self, index):
            read.append(index)
            return index

    batches = pipeline.Batches(Counted(), 4)
    assert [batches[begin] for begin in (8, 12, 16)] == [
        [8, 9, 10, 11],
        [12, 13, 14, 15],
        [16, 17, 18, 19],
    ]
    batches[20]
    assert read[:16] == list(range(8, 24))


def test_what_is_wrong_with_an_item_is_raised_where_it_is_asked_for():
    batches = pipeline.Batches([1, 2, 3, 4], 2)
    assert batches[0] == [1, 2]
    assert batches[2] == [3, 4]
    with pytest.raises(IndexError):
        batches[4]


def test_items_may_be_left_out():
    assert list(pipeline.Selected("abcd", [0, 2])) == ["a", "c"]
