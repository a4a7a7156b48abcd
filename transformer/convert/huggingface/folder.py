"""A folder as Hugging Face's transformers writes it: settings, tokenizer and weights. Nothing in it is run.

FOLDER/config.json                    architecture and sizes
FOLDER/model.safetensors              weights, or
FOLDER/model.safetensors.index.json   in which of several files each of them is
FOLDER/tokenizer.json                 tokenizer, or
FOLDER/vocab.json, merges.txt         the byte pairs of GPT-2, or
FOLDER/vocab.txt                      the word pieces of BERT
FOLDER/tokenizer_config.json          special tokens and chat template; may be missing, as may special_tokens_map.json
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import ml_dtypes
import numpy as np
import safetensors
from safetensors.numpy import save_file

from transformer.checkpoints.arrays import MOST_HEADER
from transformer.system.errors import UserError, panics_as_errors
from transformer.system.files import parse_json, path_inside, read_bounded

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
INDEX = f"{WEIGHTS}.index.json"
TOKENIZER_CONFIG, SPECIAL_TOKENS = "tokenizer_config.json", "special_tokens_map.json"
VOCABULARY, MERGES = "vocab.json", "merges.txt"
CHAT_TEMPLATE = "chat_template.jinja"
MOST_TEXT = 2**26  # bytes of a JSON file: tokenizers of 250,000 tokens have 20 million
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")  # weights in other formats; most can run code
DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
Shape = tuple[int, ...]


def path_in(folder: Path, name: str) -> Path:
    """Return `path_inside`; in the hub's cache, `snapshots/REVISION` holds links into `blobs` beside it."""
    if folder.resolve().parent.name == "snapshots":
        path_inside(folder.resolve().parents[1], f"snapshots/{folder.resolve().name}/{name}")
        return folder / name
    return path_inside(folder, name)


class Tensors(Protocol):
    """Named arrays in files."""

    @property
    def place(self) -> Path:
        """Where they are, for messages."""

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """Of all arrays, by name."""

    def read(self, name: str) -> np.ndarray:
        """Return an array, float32; a UserError where it holds what is no finite number."""


class SafeTensors:
    """The arrays of one or several safetensors files.

    Args:
        folder: that holds them.

    Raises:
        UserError: there are none, or they are damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.place = folder
        self.shapes: dict[str, Shape] = {}
        self._files: dict[str, Path] = {}
        for file in _weight_files(folder):
            path = path_in(folder, file)
            try:
                with open(path, "rb") as opened:
                    length = int.from_bytes(opened.read(8), "little")
                if length > MOST_HEADER:
                    raise ValueError(f"its header has {length:,} bytes")
                with panics_as_errors(), safetensors.safe_open(str(path), framework="numpy") as arrays:
                    for name in arrays.keys():
                        if name in self.shapes:
                            raise ValueError(f"'{name}' is in another file too")
                        self.shapes[name], self._files[name] = tuple(arrays.get_slice(name).get_shape()), path
            except FileNotFoundError:
                raise UserError(f"{path} is missing, which {folder / INDEX} names; copy it there") from None
            except (safetensors.SafetensorError, OSError, ValueError, TypeError, RuntimeError) as error:
                raise UserError(f"{path} is damaged ({error}); copy it again") from None

    def read(self, name: str) -> np.ndarray:
        path = self._files[name]
        try:
            with panics_as_errors(), safetensors.safe_open(str(path), framework="numpy") as arrays:
                kind = arrays.get_slice(name).get_dtype()
                if kind not in DTYPES:
                    raise UserError(f"{path}: '{name}' holds {kind}; numbers must be {', '.join(DTYPES)}")
                found = arrays.get_tensor(name).astype(np.float32)
        except (safetensors.SafetensorError, OSError, ValueError, TypeError, RuntimeError) as error:
            raise UserError(f"{path} is damaged ({error}); copy it again") from None
        return checked(found, name, path)


def checked(array: np.ndarray, name: str, path: Path) -> np.ndarray:
    """Return an array of a file as it is, or raise a UserError where it holds what is no finite number."""
    if not np.isfinite(array).all():
        raise UserError(f"{path}: '{name}' holds what is no finite number; copy it again or take another model")
    return array


def _weight_files(folder: Path) -> list[str]:
    """Return the names of the files that hold the weights."""
    if (folder / WEIGHTS).exists():
        return [WEIGHTS]
    if (folder / INDEX).exists():
        match read_json(folder, INDEX):
            case {"weight_map": dict(places)} if places and all(isinstance(name, str) for name in places.values()):
                names = sorted(set(places.values()))
                if all(re.fullmatch(r"[\w.-]+\.safetensors", name) for name in names):
                    return names
        raise UserError(f"{folder / INDEX} is damaged: its weight_map must name safetensors files beside it")
    others = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if others:
        raise UserError(
            f"{folder} has its weights in {others[0]} alone, and such a file can run code; save them as {WEIGHTS} with "
            "save_pretrained(FOLDER) of the program that made them"
        )
    raise UserError(f"{folder} has no weights: {WEIGHTS} is missing; name the folder of a whole model")


def read_text(folder: Path, name: str) -> str:
    """Return the text of a file of a folder; a UserError where it is missing or damaged."""
    try:
        return read_bounded(path_in(folder, name), MOST_TEXT).decode()
    except OSError as error:
        raise UserError(f"cannot read {folder / name}: {error.strerror}; name the folder of a whole model") from None
    except ValueError as error:
        raise UserError(f"{folder / name} is damaged ({error}); copy it again") from None


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Return the object in a JSON file of a folder; a UserError where it is missing or damaged."""
    text = read_text(folder, name)
    try:
        values = parse_json(text)
        if not isinstance(values, dict):
            raise ValueError("it holds no object")
    except ValueError as error:
        raise UserError(f"{folder / name} is damaged ({error}); copy it again") from None
    return values


def read_extras(folder: Path) -> dict[str, Any]:
    """Return what tokenizer_config.json and the files beside it say; a UserError where one of them is damaged."""
    settings: dict[str, Any] = {}
    for name in (SPECIAL_TOKENS, TOKENIZER_CONFIG):
        if (folder / name).exists():
            settings |= read_json(folder, name)
    settings.pop("auto_map", None)  # it names code
    if (folder / CHAT_TEMPLATE).exists():
        settings["chat_template"] = read_text(folder, CHAT_TEMPLATE)
    return settings


def read_tokenizer(folder: Path, architecture: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the JSON of the `tokenizers` library, and what `tokenizer_config.json` says, with the special tokens.

    Raises:
        UserError: there is no tokenizer, or it is damaged.
    """
    settings = read_extras(folder)
    if (folder / TOKENIZER).exists():
        return read_json(folder, TOKENIZER), settings
    if (folder / VOCABULARY).exists() and (folder / MERGES).exists():
        if architecture != "gpt2":
            raise UserError(f"{folder} has no {TOKENIZER}, and {VOCABULARY} alone says how GPT-2 splits text only")
        return _byte_pairs(folder, settings), settings
    raise UserError(f"{folder} has no tokenizer: {TOKENIZER}, or {VOCABULARY} and {MERGES}, must lie in it")


def byte_pair_json(
    vocabulary: Mapping[str, int], merges: list[tuple[str, str]], special: list[str], digits: bool, space: bool = False
) -> dict[str, Any]:
    """Return the JSON of a tokenizer of byte-level byte pairs, as GPT-2's.

    Args:
        vocabulary: ids of the tokens.
        merges: pairs, the first merged first.
        special: tokens that no text is split into, unless it spells them.
        digits: whether each digit stands alone.
        space: whether a space is put before a text.

    Raises:
        ValueError: they do not fit together.
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    try:
        with panics_as_errors():
            made = tokenizers.Tokenizer(models.BPE(dict(vocabulary), merges))
            words = pre_tokenizers.ByteLevel(add_prefix_space=space)
            alone = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
            made.pre_tokenizer = pre_tokenizers.Sequence([*alone, words]) if digits else words
            made.decoder = decoders.ByteLevel()
            made.add_special_tokens(special)
            return json.loads(made.to_str())
    except Exception as error:  # whatever the library raises of a forged file
        raise ValueError(str(error)) from None


def _byte_pairs(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    vocabulary, lines = read_json(folder, VOCABULARY), read_text(folder, MERGES).split("\n")
    try:
        pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
        if not all(type(i) is int and 0 <= i < 2**31 for i in vocabulary.values()):
            raise ValueError("its ids must be numbers")
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError("a merge must be two tokens")
        special = [token_text(settings.get(f"{name}_token")) or "<|endoftext|>" for name in ("bos", "eos", "unk")]
        known = [token for token in dict.fromkeys(special) if token in vocabulary]
        space = settings.get("add_prefix_space") is True
        return byte_pair_json(vocabulary, [(one, other) for one, other in pairs], known, False, space)
    except ValueError as error:
        raise UserError(f"{VOCABULARY} and {MERGES} of {folder} are damaged ({error}); copy them again") from None


def token_text(token: object) -> str:
    """Return the text of a special token as such files have it: a text, or an object with its content; else ''."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def write_folder(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    tokenizer: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Write a folder that transformers loads; an OSError where the disk refuses."""
    for name, values in ((CONFIG, config), (TOKENIZER, tokenizer), (TOKENIZER_CONFIG, settings)):
        (folder / name).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in tensors.items()}
    try:
        save_file(arrays, folder / WEIGHTS, {"format": "pt"})
    except safetensors.SafetensorError as error:
        raise UserError(f"cannot write {folder / WEIGHTS}: {error}; free space or name another directory") from None
