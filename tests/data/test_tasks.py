from c3jax.data import problems, tasks


def test_the_order_of_questions_is_a_function_of_the_seed_alone():
    source = range(50)
    one, again = tasks.order(source, 3), tasks.order(source, 3)
    assert tasks.batch(one, 56, 8) == tasks.batch(again, 56, 8)
    assert tasks.batch(one, 56, 8)[4:] == tasks.batch(one, 60, 4)
    assert tasks.batch(one, 0, 8) != tasks.batch(tasks.order(source, 4), 0, 8)


def test_an_epoch_holds_every_question_once_and_the_next_is_shuffled_anew():
    ordered = tasks.order(range(50), 0)
    first, second = tasks.batch(ordered, 0, 50), tasks.batch(ordered, 50, 50)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second


def test_the_embedded_task_has_demonstrations():
    task = tasks.TASKS["problems"]
    assert task.split("train")[3] == problems.Problems("train")[3]
    assert task.demonstrate is problems.demonstrate
