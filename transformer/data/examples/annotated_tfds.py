"""Annotated examples of TFDS."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from transformer.data.examples.annotated import AnnotatedCorpus
from transformer.system.errors import EnvironmentFailure, UserError

if typing.TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder


class TfdsExamples(AnnotatedCorpus):
    """A prepared TFDS dataset.

    Args:
        builder: of the prepared dataset.
        convert: makes an example of one of its own, given as NumPy arrays and bytes, and of where it stands.
        validation_pairs, test_share, seed: see `AnnotatedCorpus`.

    Raises:
        UserError: a dataset without a split 'train'.
    """

    def __init__(
        self,
        builder: DatasetBuilder,
        convert: Callable[[Mapping[str, Any], str], Any],
        validation_pairs: int,
        test_share: float = 0.0,
        seed: int = 1,
    ) -> None:
        name = "/".join(builder.info.full_name.split("/")[:-1])
        splits = [split for split in ("train", "validation", "test") if split in builder.info.splits]
        super().__init__(name, splits, validation_pairs, test_share, seed)
        if "train" not in splits:
            raise UserError(f"dataset {name} has no split 'train', only {', '.join(builder.info.splits)}")
        self._builder, self._convert = builder, convert

    def _identity(self) -> Iterator[str]:
        yield self._builder.info.full_name
        for split, info in self._builder.info.splits.items():
            yield f"{split} {info.num_examples} {info.num_bytes}"

    def _read(self, split: str) -> Iterator[Any]:
        import tensorflow as tf
        import tensorflow_datasets as tfds

        dataset = self._builder.as_dataset(split=split, shuffle_files=False)
        try:
            for number, example in enumerate(tfds.as_numpy(dataset), start=1):
                yield self._convert(example, f"{self.name}, {split} example {number}")
        except tf.errors.OpError:
            raise EnvironmentFailure(
                f"dataset {self.name} is damaged, or cannot be read, in {self._builder.data_dir}; "
                "remove that folder and it is prepared again"
            ) from None


def decoded(value: Any) -> str:
    """Return the text of a feature of TFDS."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
