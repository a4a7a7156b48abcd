"""Learning a vocabulary from text."""

import io
import itertools
import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import tensorflow as tf

from transformer.config.settings import TextConfig
from transformer.data.cleaning import META_SPACE, normalise_text
from transformer.data.tokenizers.base import MASK_TOKEN, RESERVED_TOKENS, SENTINEL_TOKEN, Tokenizer
from transformer.data.tokenizers.exact import FIRST_ID, BytePairs, Bytes, Characters, ExactTokenizer, Pieces
from transformer.data.tokenizers.sentencepiece import SentencePieceTokenizer
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.data.tokenizers.wordpiece import WordPieceTokenizer
from transformer.data.tokenizers.wordpieces import train_wordpieces
from transformer.ids import END_ID, PAD_ID, START_ID, UNKNOWN_ID
from transformer.system.errors import UserError


def train_sentencepiece(
    sentences: Iterable[str],
    config: TextConfig,
    space_before: bool = True,
    mask: bool = False,
    spelled: Sequence[str] = (),
) -> SentencePieceTokenizer:
    """Learn a SentencePiece model; the same sentences give the same bytes.

    A text begins as if there were a space before it, unless `space_before` is False. With `mask`, MASK_ID is reserved.
    The `spelled` tokens get ids from MASK_ID on, and a text that spells one holds it; a space before it is part of it.

    At most half of the pieces that are no bytes are single characters, the most frequent ones; rarer characters are
    written as bytes. `vocabulary_size` is an upper bound that a small corpus may not reach.

    The sentences are read once; at most `config.sample_size` of them are held in memory. Where there is no text, or
    nothing that SentencePiece can learn from, a UserError says so.
    """
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    sample = _sample(sentences, config.sample_size)
    counts = Counter(itertools.chain.from_iterable(sample))
    kept = max(1, config.vocabulary_size - 256 - len(RESERVED_TOKENS) - len(spelled)) // 2
    if len(counts) > kept:
        # Not by `character_coverage`: that is a share of the text, at least 0.98, and may ask for too many characters.
        rare = str.maketrans({character: " " for character, _ in counts.most_common()[kept:]})
        sample = [sentence.translate(rare) for sentence in sample]
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        # Identity with one rule: SentencePiece logs a line at each load of a model without any.
        rules, changes = Path(folder, "rules.tsv"), {META_SPACE: " "} | {f" {token}": token for token in spelled}
        rows = ["\t".join(" ".join(f"{ord(c):X}" for c in text) for text in change) for change in changes.items()]
        rules.write_text("".join(f"{row}\n" for row in rows), encoding="ascii")
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(sample),
                model_writer=model,
                model_type=config.model_type,
                vocab_size=config.vocabulary_size,
                hard_vocab_limit=False,
                character_coverage=1.0,
                byte_fallback=True,
                normalization_rule_tsv=str(rules),
                remove_extra_whitespaces=False,
                add_dummy_prefix=space_before,
                max_sentence_length=1_000_000,  # bytes; longer ones are not learned from
                pad_id=PAD_ID,
                unk_id=UNKNOWN_ID,
                bos_id=START_ID,
                eos_id=END_ID,
                control_symbols=[MASK_TOKEN] if mask else [],
                user_defined_symbols=list(spelled),
                num_threads=4,  # part of the result: sums of floats are taken thread by thread
                minloglevel=2,
            )
        except RuntimeError as error:
            raise UserError(
                f"SentencePiece cannot learn a vocabulary of {config.vocabulary_size} from {len(sample)} sentences "
                f"({' '.join(str(error).split())}); give it more text or another vocabulary_size"
            ) from None
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    proto.normalizer_spec.ClearField("normalization_rule_tsv")  # the temporary file's name
    return SentencePieceTokenizer(proto.SerializeToString(deterministic=True))


def train_wordpiece(sentences: Iterable[str], config: TextConfig) -> WordPieceTokenizer:
    """Learn a WordPiece vocabulary through KerasHub; case and accents are kept."""
    import keras_hub

    sample = _sample(sentences, config.sample_size)
    vocabulary = keras_hub.tokenizers.compute_word_piece_vocabulary(
        tf.data.Dataset.from_tensor_slices(sample).batch(1000),
        vocabulary_size=config.vocabulary_size,
        reserved_tokens=RESERVED_TOKENS,
    )
    return WordPieceTokenizer("".join(piece + "\n" for piece in vocabulary).encode())


def reservoir(items: Iterable, size: int) -> list:
    """Return at most `size` items, each as likely as any other, the same at each run (Vitter 1985, algorithm R)."""
    chance = random.Random(0)
    sample: list = []
    for seen, item in enumerate(items):
        if seen < size:
            sample.append(item)
        elif (place := chance.randrange(seen + 1)) < size:
            sample[place] = item
    return sample


def _sample(sentences: Iterable[str], size: int) -> list[str]:
    """Return at most `size` normalised, non-empty sentences."""
    sample = reservoir(filter(None, map(normalise_text, sentences)), size)
    if not sample:
        raise UserError("there is no text to learn a vocabulary from; give a corpus with at least one sentence")
    return sample


def train_tokenizers(pairs: Callable[[], Iterator[tuple[str, str]]], config: TextConfig) -> TokenizerPair:
    """Learn the tokenizers of a corpus: one of both languages together, or one for each.

    Args:
        pairs: starts a new pass over the training pairs.
        config: kind, size and jointness of the vocabulary; separate vocabularies get `vocabulary_size` and half of
            `sample_size` each.
    """
    known: dict[str, Callable[[Iterable[str], TextConfig], Tokenizer]] = {
        "sentencepiece": train_sentencepiece,
        "wordpiece": train_wordpiece,
    }
    if config.tokenizer not in known:
        raise UserError(f"text.tokenizer '{config.tokenizer}' is one of language models; take {' or '.join(known)}")
    train = known[config.tokenizer]
    if config.joint:
        tokenizer = train((sentence for pair in pairs() for sentence in pair), config)
        return TokenizerPair(tokenizer, tokenizer)
    return TokenizerPair(*(train((pair[side] for pair in pairs()), config) for side in (0, 1)))


def train_denoising(texts: Iterable[str], config: TextConfig, sentinels: int = 0) -> TokenizerPair:
    """Learn the one tokenizer of noised texts and of texts as they were, with a mask and sentinels behind it.

    Args:
        texts: read once; at most `config.sample_size` of them are learned from.
        config: kind and size.
        sentinels: how many.

    Raises:
        UserError: there is no text, or the kind has no mask that a text can spell.
    """
    if config.tokenizer != "sentencepiece":
        raise UserError(
            f"text.tokenizer '{config.tokenizer}' has no mask for an encoder-decoder; take 'sentencepiece', or start "
            "from a run with --init-from"
        )
    spelled = [MASK_TOKEN, *map(SENTINEL_TOKEN.format, range(sentinels))]
    tokenizer = train_sentencepiece(texts, config, spelled=spelled)
    return TokenizerPair(tokenizer, tokenizer)


def train_exact(texts: Iterable[str], config: TextConfig) -> ExactTokenizer:
    """Learn the tokenizer of a language model; without text, a UserError.

    Args:
        texts: read once; characters are counted in all of them, subwords learned from at most `config.sample_size`
            lines.
        config: kind and size.
    """
    if config.tokenizer == "bytes":
        return Bytes()
    if config.tokenizer == "characters":
        counts: Counter = Counter()
        for text in texts:
            counts.update(text)
        if not counts:
            raise UserError("there is no text to learn a vocabulary from; give a corpus with at least one sentence")
        return Characters.of([character for character, _ in counts.most_common(config.vocabulary_size - FIRST_ID)])
    lines = (line for text in texts for line in text.splitlines(keepends=True))
    if config.tokenizer == "sentencepiece":
        return Pieces(train_sentencepiece(lines, config, space_before=False).asset)
    if config.tokenizer == "bytepair":
        return train_bytepair(reservoir(lines, config.sample_size), config.vocabulary_size)
    if config.tokenizer == "huggingface":
        raise _not_learned()
    raise UserError(
        f"text.tokenizer '{config.tokenizer}' does not give back a text as it was, which a language model needs; take "
        "'sentencepiece', 'bytepair', 'characters' or 'bytes'"
    )


def _not_learned() -> UserError:
    return UserError("text.tokenizer 'huggingface' is that of an imported model; give --init-from with its run")


def train_masking(texts: Iterable[str], config: TextConfig, lower_case: bool = False) -> ExactTokenizer:
    """Learn the tokenizer of an encoder, with a mask.

    Args:
        texts: read once; at most `config.sample_size` lines of them are learned from.
        config: kind and size.
        lower_case: whether case and accents are left out, which WordPiece alone can do.

    Raises:
        UserError: there is no text, or the kind has no mask or cannot do what is asked.
    """
    if config.tokenizer == "huggingface":
        raise _not_learned()
    if config.tokenizer not in ("wordpiece", "sentencepiece", "bytepair"):
        raise UserError(
            f"text.tokenizer '{config.tokenizer}' has no mask, which an encoder needs; take 'wordpiece', "
            "'sentencepiece' or 'bytepair'"
        )
    if lower_case and config.tokenizer != "wordpiece":
        raise UserError(f"text.tokenizer '{config.tokenizer}' keeps case; take 'wordpiece' or task.lower_case = false")
    lines = reservoir((line for text in texts for line in text.splitlines() if line.strip()), config.sample_size)
    if not lines:
        raise UserError("there is no text to learn a vocabulary from; give a corpus with at least one sentence")
    if config.tokenizer == "wordpiece":
        return train_wordpieces(lines, config.vocabulary_size, lower_case)
    lines = [f" {line}" for line in lines]
    if config.tokenizer == "sentencepiece":
        return Pieces(train_sentencepiece(lines, config, space_before=False, mask=True).asset)
    return train_bytepair(lines, config.vocabulary_size, mask=True)


def train_bytepair(texts: Iterable[str], vocabulary_size: int, mask: bool = False) -> BytePairs:
    """Learn byte-level byte pairs, GPT-2's words apart; with `mask`, MASK_ID is reserved."""
    import tokenizers

    bytes_of_words = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    learned = tokenizers.Tokenizer(tokenizers.models.BPE())
    learned.pre_tokenizer = bytes_of_words
    special = [*RESERVED_TOKENS, MASK_TOKEN] if mask else RESERVED_TOKENS
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary_size - len(special), initial_alphabet=bytes_of_words.alphabet(), show_progress=False
    )
    learned.train_from_iterator(texts, trainer)
    model = json.loads(learned.to_str())["model"]
    # They are no words of the text: whoever writes "[END]" means these five characters.
    vocabulary = {token: i for i, token in enumerate(special)}
    vocabulary |= {token: i + len(special) for token, i in model["vocab"].items()}
    exact = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [tuple(pair) for pair in model["merges"]]))
    exact.pre_tokenizer, exact.decoder = bytes_of_words, tokenizers.decoders.ByteLevel()
    return BytePairs(exact.to_str().encode())
