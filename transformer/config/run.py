"""The whole config of a run, which a run directory stores as `config.json`.

Precedence, lowest first: the defaults of `config/sections.py`, a preset, a config file (`configs/*.toml`), flags.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field

from transformer.config.checks import is_utf8, require
from transformer.config.sections import (
    CleaningConfig,
    DataConfig,
    ModelConfig,
    SearchConfig,
    TextConfig,
    TrainingConfig,
)
from transformer.system.errors import UnknownSettingError, UserError, brief, nearest
from transformer.system.files import parse_json

MOST_CACHE = 2**30  # numbers that a search may keep of the tokens it has written: 4 GB


@dataclass(frozen=True)
class Config:
    """Everything a run is made of."""

    model: ModelConfig = field(default_factory=ModelConfig)
    text: TextConfig = field(default_factory=TextConfig)
    cleaning: CleaningConfig = field(default_factory=CleaningConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    search: SearchConfig = field(default_factory=SearchConfig)

    def __post_init__(self) -> None:
        step, most = self.data.length_step, self.model.max_positions
        padded = (self.data.max_tokens + step - 1) // step * step
        rule = f"at most model.max_positions={most} when rounded up to a multiple of data.length_step={step}"
        require(padded <= most, "data.max_tokens", rule, self.data.max_tokens)
        longest = min(most, self.search.max_length or most)
        most = max(1, MOST_CACHE // (longest * self.model.cached))
        rule = f"at most {most} with the model's layers, d_model and max_positions (the search's cache would be larger)"
        require(self.search.beam_size <= most, "search.beam_size", rule, self.search.beam_size)

    def override(self, changes: Mapping[str, Mapping[str, object]], origin: str = "config") -> Config:
        """Return a copy with `changes` ({section: {key: value}}) applied and validated.

        Raises:
            UserError: an unknown section or key (the nearest known name is suggested), a wrong type or range.
        """
        sections = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        for name, values in changes.items():
            if name not in sections:
                raise UnknownSettingError(f"{origin}: unknown section {brief(name)}.{nearest(name, sections)}")
            if not isinstance(values, Mapping):
                raise UserError(f"{origin}: '{name}' must be a section of keys, got {brief(values)}")
            types = typing.get_type_hints(type(sections[name]))
            for key, value in values.items():
                if key not in types:
                    raise UnknownSettingError(f"{origin}: unknown key {brief(key)} in [{name}].{nearest(key, types)}")
                if type(value) is int and abs(value) >= 2**31:
                    raise UserError(f"{origin}: {name}.{key} must be below 2^31, got {brief(value)}")
                if types[key] is float and type(value) is int:
                    value = float(value)
                if type(value) is not types[key]:
                    raise UserError(f"{origin}: {name}.{key} must be of type {types[key].__name__}, got {brief(value)}")
                if isinstance(value, str) and not is_utf8(value):
                    raise UserError(f"{origin}: {name}.{key} must be text that UTF-8 can hold, got {brief(value)}")
                if isinstance(value, float) and not math.isfinite(value):
                    raise UserError(f"{origin}: {name}.{key} must be a finite number, got {value!r}")
                values = {**values, key: value}
            try:
                sections[name] = dataclasses.replace(sections[name], **values)
            except ValueError as error:
                raise UserError(f"{origin}: [{name}] {error}") from None
        try:
            return Config(**sections)
        except ValueError as error:
            raise UserError(f"{origin}: {error}") from None

    def to_dict(self) -> dict[str, dict[str, object]]:
        """Return nested plain dictionaries, ready for JSON."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Return the JSON text that `from_json` reads back to an equal config."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, origin: str = "config.json") -> Config:
        """Read a config written by `to_json`; unknown keys are refused.

        Raises:
            UserError: not JSON, or an unknown or wrong entry.
        """
        try:
            values = parse_json(text)
            if not isinstance(values, dict):
                raise UserError(f"{origin} must hold an object of sections; restore it or train the run again")
            return cls().override(values, origin)
        except UnknownSettingError as error:
            raise UserError(f"{error} Another version wrote it: restore that, or train the run again") from None
        except ValueError as error:
            raise UserError(f"{origin} is not valid JSON ({error}); restore it or train the run again") from None
