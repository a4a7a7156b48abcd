"""The weights of two programs side by side: one table a model, `(ours, theirs, transform)`, read in both directions.

Names are templates: `{}` is the number of a layer, from 1 in ours and from 0 in theirs.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from transformer.checkpoints.arrays import PREFIX
from transformer.config.settings import ModelConfig
from transformer.convert.huggingface.folder import Shape, Tensors
from transformer.convert.huggingface.settings import Settings
from transformer.system.errors import UserError


@dataclasses.dataclass(frozen=True)
class Transform:
    """How an array of ours follows from one of theirs.

    Attributes:
        transposed: theirs is (out, in) or (V, D), where ours is (in, out) or (D, V).
        tokens: the first axis of theirs is the vocabulary, whose ids are renumbered.
        part: which of `parts` equal parts of their last axis ours is.
    """

    transposed: bool = False
    tokens: bool = False
    part: int = 0
    parts: int = 1

    def to_ours(self, array: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Return our array of theirs; `ids` (V,) are theirs of each of ours, where -1 gets a row of zeros."""
        if self.tokens:
            known = (ids >= 0).reshape(-1, *[1] * (array.ndim - 1))
            array = np.where(known, array[ids], np.float32(0))
        array = np.split(array, self.parts, axis=-1)[self.part]
        return array.T if self.transposed else array

    def to_theirs(self, array: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Return their array, or its part, of ours."""
        array = array.T if self.transposed else array
        if self.tokens:
            found = np.empty((int(ids.max()) + 1, *array.shape[1:]), array.dtype)
            found[ids[ids >= 0]] = array[ids >= 0]
            array = found
        return array

    def their_shape(self, shape: Shape, ids: np.ndarray) -> Shape:
        """Return the shape of theirs, given that of ours."""
        shape = shape[::-1] if self.transposed else shape
        if self.tokens:
            return (int(ids.max()) + 1, *shape[1:])
        return (*shape[:-1], shape[-1] * self.parts)


SAME, TRANSPOSED = Transform(), Transform(transposed=True)
TOKENS, TOKENS_TRANSPOSED = Transform(tokens=True), Transform(tokens=True, transposed=True)
THIRDS = tuple(Transform(part=i, parts=3) for i in range(3))


class Row(NamedTuple):
    """A line of a table."""

    ours: str
    theirs: str
    transform: Transform = SAME


@dataclasses.dataclass(frozen=True)
class Layout:
    """What is to be known of a family of models.

    Attributes:
        name: `model_type` in config.json.
        architectures: classes whose weights these are: the language model first, what it stands on last.
        prefix: that names of weights have in the former and not in the last, but for those in `bare`.
        bare: names that never have it.
        rows: the table.
        passed_over: a regular expression of tensors that hold no weights.
        activations: that its config.json can name.
        settings: from config.json to the section [model] of a config; a UserError names what is not honoured.
        config: from such a section to the keys of config.json.
        fixed: settings that all its models have.
        query_scale: from config.json and a layer's number from 0 to what its queries are multiplied by.
        absent: from config.json to a regular expression of weights that are not there, and stand for zeros.
        renamed: ends of names that older files have, and what they are now.
    """

    name: str
    architectures: tuple[str, ...]
    prefix: str
    bare: tuple[str, ...]
    rows: tuple[Row, ...]
    passed_over: str
    activations: tuple[str, ...]
    settings: Callable[[Settings], dict[str, Any]]
    config: Callable[[ModelConfig], dict[str, Any]]
    fixed: Mapping[str, object]
    query_scale: Callable[[Settings, int], float] = lambda given, layer: 1.0
    absent: Callable[[Settings], str] = lambda given: "(?!)"
    renamed: tuple[tuple[str, str], ...] = ()

    def full(self, name: str) -> str:
        """Return a name of the table as the language model's weights have it."""
        return name if name in self.bare else self.prefix + name

    def known(self, name: str) -> str:
        """Return the name in the table of weights that a file calls so."""
        name = name.removeprefix(self.prefix)
        for old, new in self.renamed:
            if name.endswith(old):
                return name.removesuffix(old) + new
        return name

    def groups(self, wanted: Mapping[str, Shape], layers: int) -> dict[str, list[Row]]:
        """Return the table's rows of the weights that a network has, a row for each layer, by the names of theirs."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            for i in range(layers if "{}" in row.ours else 1):
                ours, theirs = PREFIX + row.ours.format(i + 1), row.theirs.format(i)
                if ours in wanted:
                    found.setdefault(theirs, []).append(Row(ours, theirs, row.transform))
        return found


class Named:
    """The arrays of a model by the names of its layout's table, without those that hold no weights; see `Tensors`."""

    def __init__(self, tensors: Tensors, layout: Layout) -> None:
        self.place, self._tensors = tensors.place, tensors
        names = {layout.known(name): name for name in tensors.shapes}
        if len(names) != len(tensors.shapes):
            twice = " or under old and new names" if layout.renamed else ""
            raise UserError(
                f"{self.place} has weights with and without the prefix '{layout.prefix}'{twice}; take a whole model"
            )
        self._names = {ours: name for ours, name in names.items() if not re.fullmatch(layout.passed_over, ours)}
        self.shapes = {ours: tensors.shapes[name] for ours, name in self._names.items()}

    def read(self, name: str) -> np.ndarray:
        return self._tensors.read(self._names[name])

    def drop_tied(self, one: str, other: str) -> None:
        """Leave out `other`, where it is there, which must be equal to `one`; a UserError where it is not."""
        if one not in self.shapes or other not in self.shapes:
            return
        if self.shapes[one] != self.shapes[other] or not np.array_equal(self.read(one), self.read(other)):
            raise UserError(
                f"{self.place}: '{other}' differs from '{one}', and tie_word_embeddings says that they are one; set it "
                "to false there, if the model has both"
            )
        del self.shapes[other]


def check_fitting(layout: Layout, model: ModelConfig, run: Path) -> None:
    """Raise a UserError that names the setting of a run's model which has no place in a layout."""
    for key, value in layout.fixed.items():
        if getattr(model, key) != value:
            raise UserError(
                f"{run} cannot be written in {layout.name}'s layout: model.{key} is {getattr(model, key)!r}, and there "
                f"it is {value!r}"
            )
    if model.activation not in layout.activations:
        raise UserError(f"{run} cannot be written in {layout.name}'s layout: it has no activation '{model.activation}'")


def check_tensors(
    tensors: Tensors, groups: Mapping[str, Sequence[Row]], wanted: Mapping[str, Shape], ids: np.ndarray
) -> None:
    """Compare their shapes with those that our network wants, before any is read.

    Raises:
        UserError: names a tensor that is missing, or of another shape, or left over.
    """
    stored = tensors.shapes
    for name, rows in groups.items():
        shape = rows[0].transform.their_shape(wanted[rows[0].ours], ids)
        if name not in stored:
            raise UserError(f"{tensors.place} has no weights '{name}', which its config wants; take the whole model")
        if stored[name] != shape:
            raise UserError(
                f"{tensors.place}: '{name}' has shape {stored[name]}, and its config wants {shape}; one of them is of "
                "another model"
            )
    if more := sorted(stored.keys() - groups.keys()):
        raise UserError(
            f"{tensors.place} also holds '{more[0]}'{f' and {len(more) - 1} more' if more[1:] else ''}, which its "
            "config does not name; it is another model than its config says"
        )


def read(tensors: Tensors, groups: Mapping[str, Sequence[Row]], ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return our arrays by name."""
    found: dict[str, np.ndarray] = {}
    for name, rows in groups.items():
        array = tensors.read(name)  # once for all its parts
        for row in rows:
            found[row.ours] = np.ascontiguousarray(row.transform.to_ours(array, ids))
    return found


def written(
    arrays: Mapping[str, np.ndarray], groups: Mapping[str, Sequence[Row]], ids: np.ndarray
) -> dict[str, np.ndarray]:
    """Return their arrays by name."""
    return {
        name: np.concatenate([row.transform.to_theirs(arrays[row.ours], ids) for row in rows], axis=-1)
        for name, rows in groups.items()
    }
