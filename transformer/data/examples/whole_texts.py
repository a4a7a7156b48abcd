"""Texts of one or several languages, each an example for itself, cleaned as pairs are."""

from collections.abc import Iterator

from transformer.config.run import Config
from transformer.config.settings import CleaningConfig
from transformer.data.cleaning import SPACES, CleaningReport, clean
from transformer.data.examples.held_out import hold_out, pair_hash
from transformer.data.examples.text_documents import TextCorpus, open_texts
from transformer.system.errors import UserError


class WholeTexts:
    """The documents of a text corpus, each a text in one line; see `tasks.base.Corpus`.

    A document comes in parts of bounded size, each a text. Where a source has no validation split, some training texts
    are one, as of pairs: those whose hash is smallest, so that all files, and thus all languages, are among them.

    Args:
        texts: the corpus.
        cleaning: the rules, of the training split.
        validation_texts: as many at most, and at most a tenth, are taken from training.
    """

    def __init__(self, texts: TextCorpus, cleaning: CleaningConfig, validation_texts: int) -> None:
        self.texts, self.cleaning, self.validation_texts = texts, cleaning, validation_texts
        self.name, self.own_splits = texts.name, texts.own_splits
        self.check, self.warnings = texts.check, texts.warnings
        self.report = CleaningReport()  # of the last pass over the training split
        self._held_out: frozenset[int] | None = None

    def fingerprint(self) -> str:
        """Return a text that changes whenever the texts, their order or their splits may."""
        taken = "" if "validation" in self.own_splits else f" validation_texts {self.validation_texts}"
        return self.texts.fingerprint() + taken

    def describe(self) -> dict[str, str]:
        return {"name": self.name, "fingerprint": self.fingerprint()}

    def examples(self, split: str) -> Iterator[str]:
        """Start a pass over the texts of a split, 'train' or 'validation'.

        Raises:
            UserError: no training text passed the cleaning.
        """
        texts = self._lines(split) if "validation" in self.own_splits else self._divided(split)
        if split != "train":
            yield from texts
            return
        report = self.report = CleaningReport()
        yield from (text for text, _ in clean(((text, text) for text in texts), self.cleaning, report=report))
        if not report.kept:
            raise UserError(f"no text of {self.name} passed the cleaning: {self._told()}. Relax [cleaning]")

    def summary(self, split: str) -> str:
        return self._told() if split == "train" else "not cleaned"

    def _told(self) -> str:
        return str(self.report).replace(" pairs", " texts")

    def _lines(self, split: str) -> Iterator[str]:
        for part in self.texts.undivided(split):
            yield " ".join(filter(None, (line.strip(SPACES) for line in part.text.splitlines())))

    def _divided(self, split: str) -> Iterator[str]:
        if self._held_out is None:
            self._held_out = hold_out(((text, text) for text in self._lines("train")), self.validation_texts)
        unseen = set(self._held_out)
        for text in self._lines("train"):
            key = pair_hash((text, text))
            if split == "train" and key not in self._held_out:
                yield text
            elif split == "validation" and key in unseen:
                unseen.remove(key)
                yield text


def open_whole_texts(config: Config) -> WholeTexts:
    """Open the corpus that the config of a task names; errors as of `open_texts`."""
    return WholeTexts(open_texts(config), config.cleaning, config.data.validation_pairs)
