"""WordPiece as the `tokenizers` library has it: words, then their longest known pieces. For encoders, with a mask."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from transformer.data.tokenizers.base import MASK_TOKEN, RESERVED_TOKENS
from transformer.data.tokenizers.exact import ExactTokenizer, library_spans
from transformer.data.tokenizers.imported import opened
from transformer.ids import UNKNOWN_ID
from transformer.system.errors import panics_as_errors
from transformer.system.files import parse_json

PREFIX = "##"  # of a piece that goes on with a word
SPECIAL = [*RESERVED_TOKENS, MASK_TOKEN]


def continuing(tokens: Sequence[str]) -> np.ndarray:
    """Return which of some tokens go on with a word, (V,) bool."""
    return np.array([token.startswith(PREFIX) for token in tokens])


class WordPieces(ExactTokenizer):
    """BERT's tokenizer: a text is cut at spaces, punctuation and Chinese characters, and each word into pieces.

    A word with an unknown character is the unknown id, and `decode` puts one space between words, so it does not give
    back the text to the letter. Where the asset says so, text is lower-cased and loses its accents first.

    Args:
        asset: the JSON of the `tokenizers` library, with `SPECIAL` as its first tokens.

    Raises:
        ValueError: it is no such JSON.

    Source: Wu et al. 2016, section 4.1; Devlin et al. 2019, section 3, and the published code.
    """

    kind, suffix = "wordpiece", ".json"
    masks = True

    def __init__(self, asset: bytes) -> None:
        super().__init__(asset)
        values = parse_json(asset)
        if not isinstance(values, dict):
            raise ValueError("asset must be JSON of the tokenizers library")
        self._model = opened(values)
        vocabulary = self._model.get_vocab(with_added_tokens=True)
        if sorted(vocabulary.values()) != list(range(len(vocabulary))):
            raise ValueError("asset must number its tokens from 0 without a gap")
        if [vocabulary.get(token) for token in SPECIAL] != list(range(len(SPECIAL))):
            raise ValueError(f"asset must hold {SPECIAL} as its first tokens")
        self.vocabulary_size = len(vocabulary)

    def continuations(self) -> np.ndarray | None:
        return continuing([self._model.id_to_token(i) for i in range(self.vocabulary_size)])

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        with panics_as_errors():
            found = self._model.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, np.int32) for encoding in found]

    def _encode_with_spans(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        return library_spans(self._model, texts)

    def _decode(self, ids: list[int]) -> str:
        return str(self._model.decode(ids, skip_special_tokens=False))


def wordpiece_json(
    vocabulary: Mapping[str, int],
    unknown: str,
    lower_case: bool,
    strip_accents: bool | None,
    chinese: bool = True,
    special: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the JSON of BERT's tokenizer.

    Args:
        vocabulary: ids of the tokens.
        unknown: which of them stands for a word that has no pieces.
        lower_case: whether text is lower-cased.
        strip_accents: whether it loses its accents; None: as `lower_case`.
        chinese: whether each Chinese character is a word.
        special: tokens that no text is split into, unless it spells them.

    Raises:
        ValueError: the library refuses them.
    """
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    try:
        with panics_as_errors():
            pieces = models.WordPiece(dict(vocabulary), unk_token=unknown)
            made = tokenizers.Tokenizer(pieces)
            made.normalizer = normalizers.BertNormalizer(
                clean_text=True, handle_chinese_chars=chinese, strip_accents=strip_accents, lowercase=lower_case
            )
            made.pre_tokenizer, made.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(PREFIX)
            made.add_special_tokens(list(special))
            found = json.loads(made.to_str())
    except Exception as error:  # whatever the library raises of a forged file
        raise ValueError(str(error)) from None
    if not isinstance(found, dict):
        raise ValueError("the library wrote no object")
    return found


def train_wordpieces(texts: Iterable[str], vocabulary_size: int, lower_case: bool = False) -> WordPieces:
    """Learn a vocabulary: the same texts give the same one.

    At most a quarter of the vocabulary are characters, the most frequent ones; each is there once for words that begin
    with it and once for words that go on with it, where there are such words.

    Args:
        texts: read once.
        vocabulary_size: upper bound, which a small corpus may not reach.
        lower_case: whether case and accents are left out.
    """
    import tokenizers
    from tokenizers import trainers

    unknown, ids = SPECIAL[UNKNOWN_ID], {token: i for i, token in enumerate(SPECIAL)}
    learned = tokenizers.Tokenizer.from_str(json.dumps(wordpiece_json(ids, unknown, lower_case, None)))
    words: Counter = Counter()
    for text in texts:
        words.update(word for word, _ in learned.pre_tokenizer.pre_tokenize_str(learned.normalizer.normalize_str(text)))
    characters: Counter = Counter()
    for word, count in words.items():
        characters.update({word[0]: count})
        for character in word[1:]:
            characters[PREFIX + character] += count
    ranked = sorted(characters, key=lambda piece: (-characters[piece], piece))
    alphabet = ranked[: vocabulary_size // 4]
    known = set(alphabet)
    kept = [w for w in sorted(words) if w[0] in known and all(PREFIX + character in known for character in w[1:])]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary_size,
        # The trainer numbers characters as it meets them, in the order of a hash table, and ties follow the numbers.
        special_tokens=[*SPECIAL, *sorted(alphabet)],
        continuing_subword_prefix=PREFIX,
        show_progress=False,
    )
    learned.train_from_iterator((word for word in kept for _ in range(words[word])), trainer)
    vocabulary = sorted(learned.get_vocab(with_added_tokens=True).items(), key=lambda item: item[1])
    # Made anew: the trainer leaves its special tokens as words that a text can spell.
    return WordPieces(json.dumps(wordpiece_json(dict(vocabulary), unknown, lower_case, None)).encode())
