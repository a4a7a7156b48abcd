"""The files that CTranslate2 reads, compared beforehand with what an export of the same config writes.

The library is native code that does not check them: where a weight has another shape than its layer, or a model no
heads, it reads foreign memory or ends the process. So every name, shape and setting must be that of the config and the
tokenizer beside the model, whose own sizes have bounds, before the library opens anything.

Axes: D model width, F feed-forward width, V vocabulary.
"""

import json
import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from transformer.checkpoints.arrays import Shape
from transformer.config.settings import ModelConfig
from transformer.data.tokenizers.vocabularies import DESCRIPTION, KINDS, MOST_ASSET, TokenizerPair
from transformer.inference.ctranslate2_model import (
    configure,
    distance_vectors,
    empty_specification,
    unsupported,
    vocabularies,
)
from transformer.system.errors import UserError
from transformer.system.files import MOST_JSON, parse_json, path_inside, read_inside

MODEL = "model"  # the directory
WEIGHTS, SETTINGS = "model.bin", "config.json"  # in the directory `MODEL`
VERSION = 6  # of the format of `WEIGHTS`
DTYPES = ("float32", "int8", "int16", "int32", "float16", "bfloat16")  # by their numbers in it
SIDES = ("source", "target")  # of the vocabularies, where they are not one, 'shared'
LONGEST_NAME = 200  # bytes
CHUNK = 2**22  # numbers that are checked together

# Bytes that each file of an export may have, by all names there may be; 0: what the config asks for, see `check`.
MOST: dict[str, int] = {
    "config.json": MOST_JSON,
    f"tokenizer/{DESCRIPTION}": MOST_JSON,
    **{
        f"tokenizer/{side}{kind.suffix}": MOST_ASSET
        for kind in KINDS.values()
        for side in ("joint", "source", "target")
    },
    f"{MODEL}/{SETTINGS}": MOST_JSON,
    **{f"{MODEL}/{side}_vocabulary.json": 8 * MOST_ASSET for side in ("shared", *SIDES)},
    f"{MODEL}/{WEIGHTS}": 0,
}


class _Entry(NamedTuple):
    """Where an array of a file lies, and what it is."""

    dtype: int  # number in `DTYPES`
    shape: Shape
    start: int  # in the file, in bytes


def check(folder: Path, config: ModelConfig, tokenizers: TokenizerPair) -> int:
    """Compare the library's files in an export with what stands beside them; returns the bytes of the weights' file.

    Raises:
        UserError: a file is missing, a link out of the export, or not what an export of these would hold.
    """
    if reason := unsupported(config, tokenizers):
        raise UserError(f"{folder / 'config.json'} is of no export ({reason}); export the run again")
    pieces, spec = vocabularies(tokenizers), empty_specification(config)
    configure(spec, config, pieces[1])
    name = f"{MODEL}/{SETTINGS}"
    try:
        _check_settings(parse_json(read_inside(folder, name)), spec.config.to_dict())
        sides = ("shared",) if pieces[0] == pieces[1] else SIDES
        for side, wanted in zip(sides, pieces, strict=False):
            name = f"{MODEL}/{side}_vocabulary.json"
            if parse_json(read_inside(folder, name, 2 * len(json.dumps(wanted, indent=2)))) != wanted:
                raise ValueError("its pieces are not those of the tokenizer")
        name = f"{MODEL}/{WEIGHTS}"
        with open(path_inside(folder, name), "rb") as file:
            scalars, shapes = _wanted(spec, config, [len(each) for each in pieces])
            return _check_weights(file, spec, scalars, shapes)
    except OSError as error:
        raise UserError(f"cannot read {folder / name}: {error.strerror}; export the run again") from None
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{folder / name} does not go with the config.json and the tokenizer of the export ({error}); export the "
            "run again"
        ) from None


def _check_settings(stored: Any, wanted: Mapping[str, object]) -> None:
    """Refuse settings of the library that an export does not write; an older version of it may have left some out."""
    if not isinstance(stored, dict):
        raise ValueError("it must hold an object")
    other = [key for key, value in stored.items() if repr(value) != repr(wanted.get(key, _check_settings))]
    other += [key for key in wanted if key.endswith(("_token", "_epsilon")) and key not in stored]
    if other:
        raise ValueError(f"{other[0][:40]!r} is another")


def _wanted(spec: Any, config: ModelConfig, vocabularies: Sequence[int]) -> tuple[dict[str, bytes], dict[str, Shape]]:
    """Return the bytes of a model's scalars and the shapes of its weights, by name."""
    width, inner = config.d_model, config.dff
    rows = {"self_attention/linear_0": 3 * width, "attention/linear_1": 2 * width, "ffn/linear_0": inner}
    relative: dict[str, Shape] = {
        "relative_attention_bias": (config.relative_buckets, config.num_heads),
        **dict.fromkeys(("relative_position_keys", "relative_position_values"), distance_vectors(config)),
    }
    scalars: dict[str, bytes] = {}
    shapes: dict[str, Shape] = {}
    for name, value in spec.variables().items():
        side, _, rest = name.partition("/")
        part, _, kind = re.sub(r"^layer_\d+/", "", rest).rpartition("/")
        if value is not None:
            scalars[name] = _scalar(value)
        elif kind in ("gamma", "beta"):
            shapes[name] = (width,)
        elif kind in relative:
            shapes[name] = relative[kind]
        elif part.startswith(("embeddings", "projection")):
            shapes[name] = (vocabularies[side == "decoder"], width)
        else:
            shapes[name] = (rows.get(part, width), inner if part == "ffn/linear_1" else width)
            shapes[f"{name.removesuffix('weight')}bias"] = shapes[name][:1]
    if config.embeddings == "separate":
        shapes["decoder/projection/bias"] = (vocabularies[1],)
    for side in ("encoder", "decoder"):
        if hasattr(getattr(spec, side), "position_encodings"):
            shapes[f"{side}/position_encodings/encodings"] = (config.max_positions + 1, width)
    return scalars, shapes


def _scalar(value: Any) -> bytes:
    """Return type and bytes of a setting as the library's converter writes it."""
    array = np.asarray(value, np.int8 if isinstance(value, bool) else None)
    return bytes([DTYPES.index(array.dtype.name)]) + array.tobytes()


def _check_weights(file: BinaryIO, spec: Any, scalars: Mapping[str, bytes], shapes: Mapping[str, Shape]) -> int:
    """Compare a file of weights, and return its length; a ValueError tells what is wrong."""
    if (_number(file, "I"), _text(file), _number(file, "I")) != (VERSION, spec.name, spec.revision):
        raise ValueError("it is of another model or of another version of CTranslate2")
    entries = dict(_entries(file, len(scalars) + 3 * len(shapes)))
    aliases = {_text(file): _text(file) for _ in range(_count(file, len(shapes)))}
    if file.read(1):
        raise ValueError("it goes on behind its end")
    length = file.tell()
    for name, setting in scalars.items():
        scalar = entries.pop(name, None)
        if scalar:
            file.seek(scalar.start)
        if not scalar or scalar.shape or bytes([scalar.dtype]) + file.read(len(setting) - 1) != setting:
            raise ValueError(f"{name!r} is another")
    for name, wanted in shapes.items():
        entry, alias = entries.get(name), aliases.get(name)
        if (entry is None) == (alias is None):
            raise ValueError(f"{name!r} is missing or stands twice")
        if alias is not None and (alias not in entries or shapes.get(alias) != wanted):
            raise ValueError(f"{name!r} is another's name")
        if entry is not None and entry.shape != wanted:
            raise ValueError(f"{name!r} has shape {entry.shape} instead of {wanted}")
    if not aliases.keys() <= shapes.keys():
        raise ValueError("it gives names to what no such model has")
    scales = _scales({name: entry for name, entry in entries.items() if name in shapes})
    for name, entry in entries.items():
        if name not in shapes and scales.pop(name, None) != entry.shape:
            raise ValueError(f"{name[:40]!r} is of no such model")
        if DTYPES[entry.dtype] == "float32":
            _check_finite(file, name, entry)
        elif name not in shapes:
            raise ValueError(f"{name!r} holds no float32")
    if scales:
        raise ValueError(f"{min(scales)!r} is missing")
    return length


def _scales(entries: Mapping[str, _Entry]) -> dict[str, Shape]:
    """Return the shapes of the scales that quantised weights have beside them: one of each row, or one of all."""
    scales: dict[str, Shape] = {}
    for name, entry in entries.items():
        dtype = DTYPES[entry.dtype]
        if dtype in ("int8", "int16") and name.endswith("/weight"):
            scales[f"{name}_scale"] = entry.shape[:1] if dtype == "int8" else ()
        elif dtype != "float32":
            raise ValueError(f"{name!r} holds {dtype}")
    return scales


def _entries(file: BinaryIO, most: int) -> Iterator[tuple[str, _Entry]]:
    for _ in range(_count(file, most)):
        name, rank = _text(file), _number(file, "B")
        shape = tuple(_number(file, "I") for _ in range(min(rank, 3)))
        dtype, size = _number(file, "B"), _number(file, "I")
        if rank > 2 or dtype >= len(DTYPES):
            raise ValueError(f"{name[:40]!r} is no weight")
        if math.prod(shape) * int(re.sub(r"\D", "", DTYPES[dtype])) != 8 * size:
            raise ValueError(f"{name[:40]!r} has another length than its shape")
        yield name, _Entry(dtype, shape, file.tell())
        file.seek(size, 1)


def _number(file: BinaryIO, kind: str) -> int:
    content = file.read(struct.calcsize(kind))
    if len(content) < struct.calcsize(kind):
        raise ValueError("it ends too early")
    return struct.unpack("<" + kind, content)[0]


def _count(file: BinaryIO, most: int) -> int:
    count = _number(file, "I")
    if count > most:
        raise ValueError(f"it holds {count:,} arrays or names, more than such a model has")
    return count


def _text(file: BinaryIO) -> str:
    content = file.read(min(_number(file, "H"), LONGEST_NAME))
    if content[-1:] != b"\0" or b"\0" in content[:-1]:
        raise ValueError("a name in it has no end")
    return content[:-1].decode()


def _check_finite(file: BinaryIO, name: str, entry: _Entry) -> None:
    file.seek(entry.start)
    left = math.prod(entry.shape)
    while left > 0:
        numbers = np.frombuffer(file.read(4 * min(left, CHUNK)), "<f4")
        if not len(numbers) or not np.isfinite(numbers).all():
            raise ValueError(f"{name!r} ends too early or holds what is no finite number")
        left -= len(numbers)
