"""What a run needs before its first step: a corpus, vocabularies, tokenised shards, and its directory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from transformer.checkpoints.run import RunDirectory, check_same_run
from transformer.config.run import Config
from transformer.data.examples.corpus import Corpus
from transformer.data.examples.pairs import open_corpus
from transformer.data.records import Shards, cleaned_pairs, tokenised_shards
from transformer.data.tokenizers.learning import train_tokenizers
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.system.errors import UserError
from transformer.tasks.sequence_to_sequence import check_buildable
from transformer.training.optimizer import build_schedule


class TrainingData(NamedTuple):
    """The sentences of a run, as text and as tokens."""

    corpus: Corpus
    tokenizers: TokenizerPair
    shards: Shards
    validation_shards: Shards


def begin(config: Config, run: RunDirectory, say: Callable[[str], None]) -> TrainingData:
    """Learn the vocabulary or take that of `init_from`, tokenise, and write what stays the same during the run.

    Nothing is written into the run directory before everything has been checked.

    Args:
        config: of the new run.
        run: a directory that holds no run.
        say: tells the user what is going on.

    Raises:
        UserError: bad input, or a directory that cannot be written.
    """
    corpus = open_corpus(config)
    corpus.check()
    for warning in corpus.warnings():
        say(f"warning: {warning}")
    if config.training.init_from:
        tokenizers = _tokenizers_of(RunDirectory(config.training.init_from), config)
    else:
        say(f"learning the vocabulary from {corpus.name}")
        sample = config.text.sample_size // 2  # pairs, that is, of two sentences each
        tokenizers = train_tokenizers(
            functools.partial(cleaned_pairs, corpus, "train", config, sample=sample), config.text
        )
        say(f"vocabulary of {tokenizers.target.vocabulary_size:,} subwords; cleaning and tokenising")
    check_buildable(config.model, tokenizers)
    build_schedule(config)
    data = _tokenised(corpus, tokenizers, config, say)
    metadata = {
        "name": corpus.name,
        "source_language": corpus.source_language,
        "target_language": corpus.target_language,
        "fingerprint": corpus.fingerprint(),
    }
    run.create(config, tokenizers, metadata)
    return data


def _tokenizers_of(other: RunDirectory, config: Config) -> TokenizerPair:
    """Return the vocabulary of a run whose weights fit, at least some of them."""
    ours, theirs = config.model.d_model, other.config().model.d_model
    if ours != theirs:
        raise UserError(f"no weight of {other.path} fits: model.d_model is {ours} here and {theirs} there")
    return other.tokenizers()


def join(config: Config, run: RunDirectory, say: Callable[[str], None]) -> TrainingData:
    """Take the vocabulary of a run that was begun, and tokenise.

    Raises:
        UserError: the run is another one, or its corpus is.
    """
    check_same_run(run.config(), config, run.path)
    corpus = open_corpus(config)
    if run.corpus()["fingerprint"] != corpus.fingerprint():
        raise UserError(f"{run.path} was trained on another corpus; choose another --run or remove it")
    return _tokenised(corpus, run.tokenizers(), config, say)


def _tokenised(corpus: Corpus, tokenizers: TokenizerPair, config: Config, say: Callable[[str], None]) -> TrainingData:
    splits = (tokenised_shards(corpus, split, tokenizers, config, say) for split in ("train", "validation"))
    return TrainingData(corpus, tokenizers, *splits)
