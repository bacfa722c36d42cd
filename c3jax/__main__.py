"""The command `c3jax`, and `python -m c3jax`: what `python -m c3jax.main` is."""

import runpy


def command() -> None:
    """Runs `c3jax.main` as the program that it is, with its flags and its --help."""
    runpy.run_module("c3jax.main", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    command()
