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


def is_saved(setup: Setup, record: Record, age_s: float) -> bool:
    """Whether a step is a checkpoint; `age_s` is of the newest one, in seconds."""
    c = setup.config.train
    regular = record.step % c.checkpoint_every == 0
    is_late = c.checkpoint_minutes is not None and age_s >= 60 * c.checkpoint_minutes
    return regular or is_late or is_due(setup, record)


def promise(setup: Setup) -> str:
    """What is lost with a machine that is lost, in words."""
    c = setup.config.train
    often = f"every {c.checkpoint_every} steps, with every evaluation"
    if c.checkpoint_minutes is not None:
        often += f" and at the first step after {c.checkpoint_minutes:g} minutes"
    return f"checkpoints: {often}; a kill without notice costs what came since"
