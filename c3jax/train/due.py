"""When a run is evaluated, when it is saved, and when it is over."""

from c3jax.core import budgets
from c3jax.setup.experiment import Setup
from c3jax.train.record import Record


def is_last(setup: Setup, record: Record) -> bool:
    """Whether a run ends here: no steps are left, or no budget."""
    c = setup.config.train
    return record.step == c.steps or budgets.is_over(c.until, record.crossed)


def is_due(setup: Setup, record: Record) -> bool:
    """Whether a step is evaluated and its trees are saved."""
    crossed_here = any(at["step"] == record.step for at in record.crossed.values())
    regular = record.step % setup.config.evaluate.every == 0
    return regular or crossed_here or is_last(setup, record)


def splits(setup: Setup, record: Record) -> list[str]:
    """The splits that a step is evaluated on: test at the start and the end only.

    A run that is evaluated nowhere between needs no other.
    """
    c = setup.config
    if record.step and not is_last(setup, record):
        return [setup.task.watched]
    between = c.evaluate.every < c.train.steps or budgets.asked(c.train.until)
    return setup.task.measured[::-1] if between else ["test"]


def is_saved(setup: Setup, record: Record) -> bool:
    """Whether a step is a checkpoint."""
    regular = record.step % setup.config.train.checkpoint_every == 0
    return regular or is_due(setup, record)
