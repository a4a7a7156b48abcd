"""Translation datasets of TFDS, the embedded phrasebook among them."""

from __future__ import annotations

import typing
from collections.abc import Iterator

import tensorflow as tf

from transformer.data.examples.corpus import Corpus
from transformer.data.examples.downloads import ALTERNATIVES, check_format, directions
from transformer.data.examples.held_out import Pair
from transformer.system.errors import EnvironmentFailure, UserError

if typing.TYPE_CHECKING:
    import tensorflow_datasets


_EXAMPLES_TOGETHER = 1024  # fetched in one go; bounds the memory


class TfdsCorpus(Corpus):
    """A prepared TFDS dataset with a `Translation` feature.

    Args:
        builder: of the prepared dataset.
        source_language, target_language: codes, or empty: those of the dataset's own direction.
        validation_pairs: see `Corpus`.

    Raises:
        UserError: a dataset without these languages, without a split 'train', or in another file format than TFRecord.
    """

    def __init__(
        self,
        builder: tensorflow_datasets.core.DatasetBuilder,
        source_language: str,
        target_language: str,
        validation_pairs: int,
    ) -> None:
        name = "/".join(builder.info.full_name.split("/")[:-1])
        languages = directions(builder, name, source_language, target_language)
        super().__init__(name, *languages, builder.info.splits, validation_pairs)
        if "train" not in self.own_splits:
            raise UserError(f"dataset {name} has no split 'train', only {', '.join(self.own_splits)}; {ALTERNATIVES}")
        check_format(builder, name)
        self._builder = builder

    def check(self) -> None:
        """Do nothing: TFDS has checked the data while it prepared them."""

    def first_pairs(self) -> Iterator[Pair]:
        if self.name.startswith("phrasebook/"):
            from transformer.data.phrasebook import FIRST_SENTENCES

            for sentence in FIRST_SENTENCES:
                languages = self.source_language, self.target_language
                yield getattr(sentence, languages[0]), getattr(sentence, languages[1])

    def _identity(self) -> Iterator[str]:
        yield f"{self._builder.info.full_name} {self.source_language} {self.target_language}"
        for split, info in self._builder.info.splits.items():
            yield f"{split} {info.num_examples} {info.num_bytes}"

    def _read(self, split: str) -> Iterator[Pair]:
        # TFDS itself parses one example at a time: 90 microseconds a pair, where whole batches take 6.
        features = {language: tf.io.FixedLenFeature([], tf.string) for language in self._builder.info.features}
        records = tf.data.TFRecordDataset(self._builder.info.splits[split].filepaths).batch(_EXAMPLES_TOGETHER)
        try:
            for batch in records.map(lambda batch: tf.io.parse_example(batch, features)).as_numpy_iterator():
                for source, target in zip(batch[self.source_language], batch[self.target_language], strict=True):
                    yield source.decode(errors="replace"), target.decode(errors="replace")
        except tf.errors.OpError:
            raise EnvironmentFailure(
                f"dataset {self.name} is damaged, or cannot be read, in {self._builder.data_dir}; "
                "remove that folder and it is prepared again"
            ) from None
