"""The one TFDS builder behind every dataset of the table."""

import contextlib
import io
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import tensorflow_datasets as tfds

from c3jax.data.builders import origins


class _Info(tfds.core.DatasetInfo):
    """The description of a dataset of our own, for which TFDS has no statistics."""

    def initialize_from_bucket(self) -> None:
        """Does nothing: a search for them leaves an empty directory at every call."""


class Questions(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Texts by name, in the order of their files."""

    VERSION = tfds.core.Version(origins.VERSION)

    def __init__(
        self,
        dataset: origins.Dataset,
        splits: Mapping[str, Sequence[Mapping[str, str]]],
        fields: Sequence[str],
        **place,
    ):
        self.name = dataset.name
        self._dataset, self._splits, self._fields = dataset, splits, fields
        super().__init__(**place)

    def _info(self) -> tfds.core.DatasetInfo:
        return _Info(
            builder=self,
            description=f"{self._dataset.name}: questions with gold answers.",
            features=tfds.features.FeaturesDict(
                {name: tfds.features.Text() for name in self._fields}
            ),
            homepage=self._dataset.homepage,
            citation=self._dataset.citation,
            license=self._dataset.licence,
            # Otherwise records are reordered by a hash of their keys.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        splits = self._splits.items()
        return {name: self._generate_examples(questions) for name, questions in splits}

    def _generate_examples(self, questions) -> Iterator[tuple[int, Mapping[str, str]]]:
        yield from enumerate(questions)


def write(
    dataset: origins.Dataset,
    splits: Mapping[str, Sequence[Mapping[str, str]]],
    directory: pathlib.Path,
    fields: Sequence[str],
) -> pathlib.Path:
    """Writes the records of a dataset.

    Args:
        splits: per split, the texts of each question by name.
        directory: below which TFDS writes `<dataset>/<version>`.
        fields: names of the texts.

    Returns:
        The directory that holds them.
    """
    tfds.disable_progress_bar()
    builder = Questions(dataset, splits, fields, data_dir=directory)
    # It prints messages about downloads, and there are none here.
    with contextlib.redirect_stdout(io.StringIO()):
        # Another format loses rows, or can only be read with TensorFlow.
        builder.download_and_prepare(file_format="array_record")
    return pathlib.Path(builder.data_dir)


def read(place: pathlib.Path) -> dict[str, Sequence]:
    """The splits in a directory, as sequences of bytes by name."""
    return tfds.builder_from_directory(place).as_data_source()
