"""Traces of some steps of a run, for XProf and TensorBoard."""

import pathlib
import re

import jax


def steps(text: str, last_step: int) -> range:
    """The steps that `--profile=FROM:TO` names, both included; none for "".

    Args:
        last_step: of the run; later ones are no steps.

    Raises:
        ValueError: it is not FROM:TO, 1 or more and ascending, or the run is shorter.
    """
    if not text:
        return range(0)
    found = re.fullmatch(r"(\d+):(\d+)", text)
    first, last = map(int, found.groups()) if found else (0, 0)
    if not 1 <= first <= last:
        raise ValueError(
            f"--profile={text}: it must be FROM:TO of steps, such as 10:12."
        )
    if first > last_step:
        raise ValueError(
            f"--profile={text}: the run has {last_step} steps; name some of these."
        )
    return range(first, min(last, last_step) + 1)


class Profile:
    """A trace from the beginning of one step to the end of another.

    Every process writes its own, in `plugins/profile/` of the run's directory, where
    TensorBoard's profile plugin and XProf find it.
    """

    def __init__(self, directory: pathlib.Path, steps: range):
        """Writes nothing until a step is among `steps`."""
        self._directory, self._steps, self._is_on = directory, steps, False
        self._first = self._last = 0

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *error) -> None:
        self.close()
        if self._steps and not self._first:
            print(f"profile: none of steps {self._steps[0]} to {self._steps[-1]} ran")

    def at(self, step: int) -> None:
        """Begins or ends the trace, where step number `step`, from 1, is to begin."""
        if self._is_on and step not in self._steps:
            self.close()
        elif not self._is_on and step in self._steps:
            jax.profiler.start_trace(self._directory)
            self._is_on, self._first = True, step
        self._last = step

    def close(self) -> None:
        """Ends the trace, if one is being made, and says where it is."""
        if self._is_on:
            self._is_on = False
            jax.profiler.stop_trace()
            place = self._directory / "plugins" / "profile"
            last = min(self._last, self._steps[-1])
            print(f"profile of steps {self._first} to {last}: {place}")
