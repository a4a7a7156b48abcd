"""Between the ids of another program's vocabulary and those of this package."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from transformer.convert.huggingface.folder import token_text
from transformer.convert.huggingface.settings import Settings
from transformer.data.tokenizers.exact import BytePairs, ExactTokenizer
from transformer.data.tokenizers.imported import Imported, opened
from transformer.ids import END_ID, PAD_ID, START_ID, UNKNOWN_ID
from transformer.system.errors import UserError, shortened
from transformer.system.files import parse_json

IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
MOST_EMPTY = 0.1  # share of the embedding's rows that no token may have: widths are padded to round numbers


def fitting(given: Settings, tokenizer: Mapping[str, Any]) -> tuple[Any, dict[str, int]]:
    """Return a tokenizer of the `tokenizers` library, and its ids by token.

    Raises:
        UserError: it is damaged, or has more ids than config.json's vocab_size, or far fewer.
    """
    size = given.size("vocab_size", None)
    try:
        model = opened(tokenizer)
    except ValueError as error:
        raise UserError(f"the tokenizer of {given.place} is damaged: {error}; copy it again") from None
    tokens = model.get_vocab(with_added_tokens=True)
    most = max(tokens.values(), default=-1) + 1
    if not size * (1 - MOST_EMPTY) <= most <= size:
        raise UserError(
            f"the tokenizer of {given.place} does not fit the weights: it has {most:,} ids, and vocab_size is "
            f"{size:,}; one of them is of another model"
        )
    return model, tokens


class Vocabulary(NamedTuple):
    """A tokenizer, and whether it puts a start token before a text."""

    tokenizer: Imported
    start: bool


def renumbered(given: Settings, tokenizer: Mapping[str, Any], extras: Mapping[str, Any]) -> Vocabulary:
    """Return another program's tokenizer under our ids.

    The end token gets our id, the start token too where the tokenizer puts it before a text, and the unknown token
    where there is one. No token of theirs is padding here: what they pad with may well be a token of a text.

    Args:
        given: config.json.
        tokenizer: JSON of the `tokenizers` library.
        extras: what else is known of it: names of special tokens, `add_bos_token`, chat template.

    Raises:
        UserError: the tokenizer is damaged, does not fit the weights, or has no end token.
    """
    model, tokens = fitting(given, tokenizer)
    size = given.size("vocab_size", None)
    ids = {key: _special(given, key, tokens, extras) for key in IDS}
    end, start = ids["eos_token_id"], ids["bos_token_id"]
    if end is None:
        raise UserError(f"{given.place} names no end token; give eos_token_id the id of one")
    starts = start is not None and _starts(model, extras, start)
    if starts and start == end:
        raise given.refuse("bos_token_id", "a start token that is put before texts must differ from the end token")
    unknown = tokens.get(_unknown(tokenizer))
    reserved: list[int | None] = [None] * 4
    reserved[UNKNOWN_ID] = None if unknown in (start if starts else None, end) else unknown
    reserved[START_ID], reserved[END_ID] = start if starts else None, end
    kept = {"ids": {key: given.values.get(key) for key in IDS} | {"eos_token_id": end}, "tokenizer_config": extras}
    try:
        return Vocabulary(Imported.from_parts(reserved, size, tokenizer, kept), starts)
    except ValueError as error:
        raise UserError(f"the tokenizer of {given.place} is damaged: {error}; copy it again") from None


def _special(given: Settings, key: str, tokens: Mapping[str, int], extras: Mapping[str, Any]) -> int | None:
    """Return the id of a special token: by config.json, of several the first, or else by the tokenizer's settings."""
    value = given.values.get(key)
    given.pass_over(key)
    if isinstance(value, list) and value:
        if len(value) > 1:
            given.warnings.append(f"of {key} = {shortened(value)} the first is taken; name the others with --stop")
        value = value[0]
    if type(value) is int and 0 <= value < given.size("vocab_size", None):
        return value
    return tokens.get(token_text(extras.get(key.removesuffix("_id"))))


def _starts(model: Any, extras: Mapping[str, Any], start: int) -> bool:
    """Return whether a tokenizer puts the start token before a text."""
    if isinstance(extras.get("add_bos_token"), bool):
        return bool(extras["add_bos_token"])
    plain, whole = (model.encode("a", add_special_tokens=special).ids[:1] for special in (False, True))
    return whole == [start] and plain != whole


def _unknown(tokenizer: Mapping[str, Any]) -> str:
    model = tokenizer.get("model")
    return token_text(model.get("unk_token")) if isinstance(model, dict) else ""


class Their(NamedTuple):
    """A tokenizer as another program wants it."""

    ids: np.ndarray  # (V,) their id of each of ours, -1 where there is none
    tokenizer: dict[str, Any]
    extras: dict[str, Any]  # tokenizer_config.json
    special: dict[str, Any]  # keys of config.json


def original(tokenizer: ExactTokenizer, start: bool) -> Their:
    """Return the tokenizer of a run for another program: the imported one as it came, or byte pairs learned here.

    Args:
        tokenizer: of the run.
        start: whether a text begins with the start token.

    Raises:
        UserError: it is of another kind.
    """
    if isinstance(tokenizer, Imported):
        kept = tokenizer.settings
        extras, special = kept.get("tokenizer_config"), kept.get("ids")
        if isinstance(extras, dict) and isinstance(special, dict):
            extras = {"tokenizer_class": "PreTrainedTokenizerFast", **extras}
            return Their(tokenizer.theirs, tokenizer.tokenizer, extras, {key: special.get(key) for key in IDS})
        raise UserError("the run's tokenizer is damaged: its settings are missing; import the model again")
    if not isinstance(tokenizer, BytePairs):
        raise UserError(
            f"a tokenizer of the kind '{tokenizer.kind}' has no place in such a folder; train with "
            "text.tokenizer = 'bytepair'"
        )
    names = {"pad_token": PAD_ID, "unk_token": UNKNOWN_ID, "bos_token": START_ID, "eos_token": END_ID}
    model = parse_json(tokenizer.asset)
    tokens = {i: token for token, i in model["model"]["vocab"].items() if i < len(names)}
    if start:
        pieces: list[dict[str, Any]] = [
            {"SpecialToken": {"id": tokens[START_ID], "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ]
        special_token = {"id": tokens[START_ID], "ids": [START_ID], "tokens": [tokens[START_ID]]}
        model["post_processor"] = {
            "type": "TemplateProcessing",
            "single": pieces,
            "pair": [*pieces, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {tokens[START_ID]: special_token},
        }
    extras = {"tokenizer_class": "PreTrainedTokenizerFast", **{name: tokens[i] for name, i in names.items()}}
    ids = {"bos_token_id": START_ID, "eos_token_id": END_ID, "pad_token_id": PAD_ID}
    return Their(np.arange(tokenizer.vocabulary_size), model, extras, ids)
