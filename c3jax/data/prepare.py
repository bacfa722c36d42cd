"""python -m c3jax.data.prepare --dataset=math [--source=DIR] [--data_dir=DIR]

Prepares a public dataset, as the first run that needs it would; without a network, from
a directory with its files. --list prints the datasets and where they come from.
"""

import argparse
import pathlib
import sys

from c3jax.data.builders import origins, prepared


def main(argv: list[str] | None = None) -> None:
    """Prepares what the flags say."""
    parser = argparse.ArgumentParser(prog="c3jax.data.prepare", description=__doc__)
    parser.add_argument("--dataset", choices=sorted(origins.DATASETS))
    parser.add_argument("--source", type=pathlib.Path, help="instead of downloading")
    parser.add_argument(
        "--data_dir", type=pathlib.Path, default=prepared.default_directory()
    )
    parser.add_argument("--list", action="store_true", help="print the table")
    flags = parser.parse_args(argv)
    if flags.list:
        print("\n\n".join(map(told, origins.DATASETS.values())))
        return
    if not flags.dataset:
        parser.error("say which: --dataset=math, or --list")
    try:
        dataset = origins.DATASETS[flags.dataset]
        splits = prepared.prepare(dataset, flags.data_dir, flags.source)
    except ValueError as error:
        sys.exit(f"c3jax: {error}")
    for name, records in splits.items():
        print(f"{dataset.name}/{name}: {len(records):,} questions")
    print(f"  in {flags.data_dir / dataset.name}")


def told(dataset: origins.Dataset) -> str:
    """A dataset of the table, for a person."""
    splits = ", ".join(f"{name} {count:,}" for name, count in dataset.counts.items())
    lines = [
        f"{dataset.name}: {splits}; graded as {dataset.reward}",
        f"licence: {dataset.licence}",
        dataset.citation,
        *(f"{file.name}: {file.url}" for file in dataset.files),
    ]
    return "\n  ".join(lines)


if __name__ == "__main__":
    main()
