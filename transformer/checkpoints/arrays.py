"""Files of arrays: written whole or not at all, checked when they are read, and never code.

The format is safetensors.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
from safetensors.numpy import save as serialise

from transformer.system.errors import UserError, panics_as_errors
from transformer.system.files import parse_json, write_atomically
from transformer.system.messages import called

if TYPE_CHECKING:
    import keras

MOST_HEADER = 2**23  # bytes of a file's header; 64 layers with Adam's two moments and an average need 2.4 million
PREFIX = "model/"  # of the names of a model's weights in a file
Shape = tuple[int, ...]


class DamagedError(UserError):
    """A file of weights that is torn, truncated or changed."""


def save_arrays(
    path: Path,
    variables: Mapping[str, keras.Variable | np.ndarray],
    metadata: Mapping[str, object] | None = None,
    keep: Path | None = None,
) -> None:
    """Save variables or arrays by name, and a little JSON metadata with them, as one safetensors file: no code.

    A digest of each array goes with it: safetensors notices a missing end, but not a page that never reached the disk.

    Args:
        path: the file.
        variables: by the names they get in it.
        metadata: anything JSON can hold.
        keep: where the file that `path` names now goes, see `write_atomically`.

    Raises:
        UserError: the file cannot be written.
    """
    arrays = {name: np.asarray(v, order="C") for name, v in variables.items()}
    digests = {name: _digest(array) for name, array in arrays.items()}
    # One entry: safetensors writes several in no fixed order, and equal states should be equal files.
    header = {"saved": json.dumps({"metadata": metadata or {}, "digests": digests})}
    write_atomically(path, serialise(arrays, header), keep)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[safetensors.safe_open]:
    """Open a file of arrays; whatever is wrong with it is told in one line."""
    try:
        with panics_as_errors():
            _check_header(path)
            with safetensors.safe_open(str(path), framework="numpy") as file:
                yield file
    except FileNotFoundError:
        raise UserError(f"{path} is missing; train the run with {called('train')} first") from None
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DamagedError(f"{path} is damaged ({error}); restore it or train the run again") from None


def _check_header(path: Path) -> None:
    """Refuse a header, which is read as a whole, of a length that no file of ours has."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MOST_HEADER:
        raise ValueError(f"its header has {length:,} bytes, more than the {MOST_HEADER:,} that there may be")


def _shapes(file: safetensors.safe_open) -> dict[str, Shape]:
    return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}


def _compare(path: Path, stored: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> None:
    for name, shape in wanted.items():
        if stored.get(name) != shape:
            found = f"has shape {stored[name]}" if name in stored else "is missing"
            raise UserError(
                f"{path} is of another architecture: '{name}' {found}, the config wants {shape}; restore its "
                "config.json or train the run again"
            )


def check_shapes(path: Path, wanted: Mapping[str, Shape], prefix: str) -> None:
    """Refuse a file whose arrays with a prefix are not, by name and shape, those that are wanted; none is read.

    Raises:
        DamagedError: the file is truncated, torn or changed.
        UserError: the file is missing or of another architecture.
    """
    stored = stored_shapes(path)
    _compare(path, stored, wanted)
    if more := [name for name in stored if name.startswith(prefix) and name not in wanted]:
        raise UserError(
            f"{path} is of another architecture: it also holds '{more[0]}'; restore its config.json or train the run "
            "again"
        )


def stored_shapes(path: Path) -> dict[str, Shape]:
    """Return the shapes of a file's arrays, by name, without reading the arrays; errors as of `check_shapes`."""
    with _opened(path) as file:
        return _shapes(file)


def _digest(array: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()


def load_arrays(
    path: Path, variables: Mapping[str, keras.Variable], read: Callable[[Any], Any] = lambda metadata: metadata
) -> Any:
    """Assign the arrays of a file to the variables of the same names and return the file's metadata.

    Every variable must be in the file, unharmed and with its shape, or none is assigned; what else the file holds is
    not read.

    Args:
        path: the file.
        variables: by their names in it.
        read: returns the metadata, which may be any JSON, as the caller wants them; a ValueError says that they are not
            what was saved.

    Raises:
        DamagedError: the file is truncated, torn or changed, or holds what is no finite number.
        UserError: the file is missing or of another architecture.
    """
    with _opened(path) as file:
        stored = _shapes(file)
        _compare(path, stored, {name: tuple(variable.shape) for name, variable in variables.items()})
        saved = parse_json(file.metadata()["saved"])
        metadata, digests = read(saved["metadata"]), saved["digests"]
        arrays = {name: _array(file, name, variable.dtype, digests[name]) for name, variable in variables.items()}
        for name, variable in variables.items():
            variable.assign(arrays[name])
    return metadata


def read_arrays(path: Path, wanted: Mapping[str, Shape], prefix: str) -> dict[str, np.ndarray]:
    """Return the float32 arrays of a file by name; those with a prefix must be exactly those that are wanted.

    Raises:
        DamagedError: the file is truncated, torn or changed, or holds what is no finite number.
        UserError: the file is missing or of another architecture.
    """
    check_shapes(path, wanted, prefix)
    with _opened(path) as file:
        digests = parse_json(file.metadata()["saved"])["digests"]
        return {name: _array(file, name, "float32", digests[name]) for name in wanted}


def _array(file: safetensors.safe_open, name: str, dtype: str, digest: object) -> np.ndarray:
    """Return an array of a file; a ValueError tells that it is not what was saved of such a variable."""
    wanted, kind = np.dtype(dtype), file.get_slice(name).get_dtype()
    if kind != f"{wanted.kind.upper()}{8 * wanted.itemsize}":  # before it is read: NumPy lacks some types
        raise ValueError(f"'{name}' holds {kind} instead of {wanted}")
    array = file.get_tensor(name)
    if _digest(array) != digest:
        raise ValueError(f"'{name}' is not what was saved")
    if not np.isfinite(array).all():
        raise ValueError(f"'{name}' holds what is no finite number")
    return array


def load_fitting(path: Path, variables: Mapping[str, keras.Variable]) -> tuple[list[str], list[str], list[str]]:
    """Assign the arrays that fit a variable in name and shape, as `load_arrays` does.

    Returns the names of the variables that were loaded, of those that were not, and of the arrays that were not used.
    """
    stored = stored_shapes(path)
    fitting = {name: variable for name, variable in variables.items() if stored.get(name) == tuple(variable.shape)}
    load_arrays(path, fitting)
    unused = sorted(name for name in stored if name not in fitting)
    return list(fitting), [name for name in variables if name not in fitting], unused


def model_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Return the weights of a model by name, the same in every process."""
    return {f"{PREFIX}{v.path.removeprefix(model.name + '/')}": v for v in model.trainable_variables}


def numbered(prefix: str, variables: Iterable[keras.Variable]) -> dict[str, keras.Variable]:
    """Return variables under numbers, for those whose own names differ between processes."""
    return {f"{prefix}/{i:04d}": variable for i, variable in enumerate(variables)}
