"""Between the ids of another program's encoder and those of this package, where START is [CLS] and END is [SEP]."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from transformer.convert.huggingface.folder import TOKENIZER, read_extras, read_json, read_text, token_text
from transformer.convert.huggingface.settings import Settings
from transformer.convert.huggingface.vocabulary import Their, fitting
from transformer.data.tokenizers.exact import ExactTokenizer
from transformer.data.tokenizers.imported import Imported
from transformer.data.tokenizers.wordpieces import SPECIAL, WordPieces, wordpiece_json
from transformer.ids import END_ID, MASK_ID, PAD_ID, START_ID, UNKNOWN_ID
from transformer.system.errors import UserError, panics_as_errors, shortened
from transformer.system.files import parse_json

WORD_PIECES = "vocab.txt"
TOKENS = {  # of ours, in the order of our ids: what transformers calls it, and BERT's text
    PAD_ID: ("pad_token", "[PAD]"),
    UNKNOWN_ID: ("unk_token", "[UNK]"),
    START_ID: ("cls_token", "[CLS]"),
    END_ID: ("sep_token", "[SEP]"),
    MASK_ID: ("mask_token", "[MASK]"),
}
RULES = {  # of tokenizer_config.json: their name in a BertNormalizer, and what is meant where nothing is said
    "do_lower_case": ("lowercase", True),
    "strip_accents": ("strip_accents", None),
    "tokenize_chinese_chars": ("handle_chinese_chars", True),
}


def read_tokenizer(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the JSON of the `tokenizers` library, of tokenizer.json or vocab.txt, and tokenizer_config.json.

    Raises:
        UserError: there is no tokenizer, it is damaged, or a rule of it is not honoured.
    """
    extras = read_extras(folder)
    if (folder / TOKENIZER).exists():
        return read_json(folder, TOKENIZER), extras
    if (folder / WORD_PIECES).exists():
        return _of_word_pieces(read_text(folder, WORD_PIECES), extras, folder / WORD_PIECES), extras
    raise UserError(f"{folder} has no tokenizer: {TOKENIZER} or {WORD_PIECES} must lie in it")


def _of_word_pieces(text: str, extras: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """Return the JSON of a vocabulary, one token a line in the order of their ids, with the rules of `extras`."""
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    rules = {}
    for key, (_, usual) in RULES.items():
        value = extras.get(key, usual)
        if value is not None and type(value) is not bool or (value is None and usual is not None):
            raise UserError(
                f"tokenizer_config.json beside {place}: {key} = {shortened(value)}; it may be true or false"
            )
        rules[key] = value
    special = [_token(extras, i) for i in TOKENS]
    try:
        return wordpiece_json(
            {token: i for i, token in enumerate(lines)},
            special[UNKNOWN_ID],
            bool(rules["do_lower_case"]),
            rules["strip_accents"],
            chinese=bool(rules["tokenize_chinese_chars"]),
            special=[token for token in special if token in lines],
        )
    except ValueError as error:
        raise UserError(f"{place} is damaged ({error}); copy it again") from None


def _token(extras: Mapping[str, Any], index: int) -> str:
    name, usual = TOKENS[index]
    return token_text(extras.get(name)) or usual


def renumbered(given: Settings, tokenizer: Mapping[str, Any], extras: Mapping[str, Any]) -> Imported:
    """Return another program's tokenizer under our ids.

    Args:
        given: config.json.
        tokenizer: JSON of the `tokenizers` library.
        extras: tokenizer_config.json, with the names of special tokens.

    Raises:
        UserError: the tokenizer is damaged, does not fit the weights, has no mask or another special token, frames a
            text in another way, or contradicts its settings.
    """
    model, tokens = fitting(given, tokenizer)
    reserved = []
    for index, (name, _) in TOKENS.items():
        text = _token(extras, index)
        if text not in tokens:
            raise UserError(f"the tokenizer of {given.place} has no {name} {shortened(text)}; take one of an encoder")
        reserved.append(tokens[text])
    _check_rules(tokenizer, extras, given)
    size, kept = given.size("vocab_size", None), {"tokenizer_config": dict(extras)}
    try:
        if tokenizer.get("post_processor") is not None:
            _check_frame(model, reserved[START_ID], reserved[END_ID], given)
        return Imported.from_parts(reserved, size, tokenizer, kept)
    except ValueError as error:
        raise UserError(f"the tokenizer of {given.place} is damaged: {error}; copy it again") from None


def _check_frame(model: Any, start: int, end: int, given: Settings) -> None:
    """Refuse a tokenizer that does not frame a pair as [CLS] A [SEP] B [SEP]; a ValueError where it cannot at all."""
    try:
        with panics_as_errors():
            one, pair = model.encode("a", add_special_tokens=False).ids, model.encode("a", "a")
    except Exception as error:  # whatever the library raises of a forged file
        raise ValueError(str(error)) from None
    kinds = [0] * (len(one) + 2) + [1] * (len(one) + 1)
    if pair.ids != [start, *one, end, *one, end] or pair.type_ids != kinds:
        first, last = model.id_to_token(start), model.id_to_token(end)
        raise UserError(
            f"the tokenizer of {given.place} frames two sentences as {pair.tokens}; here it is "
            f"{first} A {last} B {last}"
        )


def _check_rules(tokenizer: Mapping[str, Any], extras: Mapping[str, Any], given: Settings) -> None:
    """Refuse a tokenizer whose rules are other ones than its settings say; which count depends on who reads them."""
    folder = Path(given.place).parent
    for key, unlike in (("do_basic_tokenize", False), ("never_split", None)):
        if extras.get(key) is not None and (extras[key] is unlike or (unlike is None and extras[key])):
            raise UserError(
                f"{folder}: tokenizer_config.json has {key} = {shortened(extras[key])}, which has no place here"
            )
    normalizer = tokenizer.get("normalizer")
    if not isinstance(normalizer, dict) or normalizer.get("type") != "BertNormalizer":
        return
    for key, (name, _) in RULES.items():
        if key not in extras or extras[key] == normalizer.get(name):
            continue
        lower = normalizer.get("lowercase")
        if key == "strip_accents" and {extras[key], normalizer.get(name)} == {None, lower}:
            continue  # None is what `lowercase` is
        raise UserError(
            f"{folder}: tokenizer_config.json has {key} = {shortened(extras[key])}, and tokenizer.json has "
            f"{name} = {shortened(normalizer.get(name))}; set them alike as the model was trained"
        )


def original(tokenizer: ExactTokenizer) -> Their:
    """Return the tokenizer of a run for another program: the imported one as it came, or WordPiece learned here.

    Raises:
        UserError: it is of another kind.
    """
    if isinstance(tokenizer, Imported):
        extras = tokenizer.settings.get("tokenizer_config")
        if not isinstance(extras, dict):
            raise UserError("the run's tokenizer is damaged: its settings are missing; import the model again")
        pad = tokenizer.reserved[PAD_ID]
        return Their(tokenizer.theirs, tokenizer.tokenizer, {"tokenizer_class": "BertTokenizer", **extras}, _pad(pad))
    if not isinstance(tokenizer, WordPieces):
        raise UserError(
            f"a tokenizer of the kind '{tokenizer.kind}' has no place in such a folder; train with "
            "text.tokenizer = 'wordpiece'"
        )
    model = parse_json(tokenizer.asset)
    start, end = SPECIAL[START_ID], SPECIAL[END_ID]
    pieces = [(start, 0), ("A", 0), (end, 0), ("B", 1), (end, 1)]
    template = [
        {"Sequence" if name in "AB" else "SpecialToken": {"id": name, "type_id": kind}} for name, kind in pieces
    ]
    model["post_processor"] = {
        "type": "TemplateProcessing",
        "single": template[:3],
        "pair": template,
        "special_tokens": {
            token: {"id": token, "ids": [i], "tokens": [token]} for token, i in ((start, START_ID), (end, END_ID))
        },
    }
    rule = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    model["added_tokens"] = [{"id": i, "content": token, **rule} for i, token in enumerate(SPECIAL)]
    extras = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        **{name: SPECIAL[index] for index, (name, _) in TOKENS.items()},
        **{key: model["normalizer"][name] for key, (name, _) in RULES.items()},
    }
    return Their(np.arange(tokenizer.vocabulary_size), model, extras, _pad(PAD_ID))


def _pad(index: int | None) -> dict[str, Any]:
    return {"pad_token_id": index}
