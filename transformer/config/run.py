"""The whole config of a run, which a run directory stores as `config.json`.

Precedence, lowest first: the defaults of `config/settings.py`, a preset, a config file, flags (`--set` among them).
"""

import dataclasses
import json
import math
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field

from transformer.config.checks import require
from transformer.config.settings import (
    CleaningConfig,
    DataConfig,
    ModelConfig,
    SearchConfig,
    TextConfig,
    TrainingConfig,
)
from transformer.config.tasks import SETTINGS, TranslationSettings
from transformer.system.errors import UnknownSettingError, UserError, nearest, shortened
from transformer.system.files import parse_json

LISTS = tuple[str, ...]
RENAMED = {  # keys that older versions knew, and what to write now
    **dict.fromkeys(("data.source", "data.target"), 'data.train = ["a.en", "a.de"]'),
    "data.tsv": 'data.train = ["a.tsv"]',
    **dict.fromkeys(("data.valid_source", "data.valid_target"), 'data.valid = ["b.en", "b.de"]'),
    "data.source_language": "task.source_language",
    "data.target_language": "task.target_language",
    "training.validation_bleu_pairs": "training.score_examples",
}
MOST_CACHE = 2**30  # numbers that a search may keep of the tokens it has written: 4 GB


def _task_named(name: object, current: object, origin: str) -> object:
    """Return the settings of a task: those there are, or the defaults of another."""
    if not isinstance(name, str) or name not in SETTINGS:
        raise UserError(
            f"{origin}: unknown task {shortened(name)}.{nearest(str(name), SETTINGS)} Known: {', '.join(SETTINGS)}; "
            "a task of your own needs --task FILE:CLASS, and is used in Python (examples/new_task.py)"
        )
    return current if isinstance(current, SETTINGS[name]) else SETTINGS[name]()


def _checked(section: str, key: str, value: object, types: Mapping[str, type], origin: str) -> object:
    """Return the value of a setting, of the setting's type."""
    name = f"{section}.{key}"
    if key not in types:
        hint = f" It is now {RENAMED[name]}." if name in RENAMED else nearest(key, types)
        raise UnknownSettingError(f"{origin}: unknown key {shortened(key)} in [{section}].{hint}")
    wanted = types[key]
    if type(value) is int and abs(value) >= 2**31:
        raise UserError(f"{origin}: {name} must be below 2^31, got {shortened(value)}")
    if wanted is float and type(value) is int:
        value = float(value)
    if wanted == LISTS and isinstance(value, str) and value:
        value = (value,)
    elif wanted == LISTS and isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        value = tuple(value)
    elif wanted == LISTS:
        raise UserError(f'{origin}: {name} must be a list of texts such as ["a", "b"], got {shortened(value)}')
    elif type(value) is not wanted:
        raise UserError(f"{origin}: {name} must be of type {wanted.__name__}, got {shortened(value)}")
    if re.search("[\ud800-\udfff]", "".join(value) if isinstance(value, tuple) else str(value)):
        raise UserError(f"{origin}: {name} must be text that UTF-8 can hold, got {shortened(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{origin}: {name} must be a finite number, got {value!r}")
    return value


@dataclass(frozen=True)
class Config:
    """Everything a run is made of."""

    task: typing.Any = field(default_factory=TranslationSettings)  # one of `config.tasks.SETTINGS`
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

    def override(self, changes: Mapping[str, Mapping[str, object]], origin: str = "config") -> typing.Self:
        """Return a copy with `changes` ({section: {key: value}}) applied and validated.

        Raises:
            UserError: an unknown section or key (the nearest known name is suggested), a wrong type or range.
        """
        sections = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        for name, values in changes.items():
            if name not in sections:
                raise UnknownSettingError(f"{origin}: unknown section {shortened(name)}.{nearest(name, sections)}")
            if not isinstance(values, Mapping):
                raise UserError(f"{origin}: '{name}' must be a section of keys, got {shortened(values)}")
            if name == "task":
                sections[name] = _task_named(values.get("name", self.task.name), self.task, origin)
            types = typing.get_type_hints(type(sections[name]))
            checked = {key: _checked(name, key, value, types, origin) for key, value in values.items()}
            try:
                sections[name] = dataclasses.replace(sections[name], **checked)
            except ValueError as error:
                raise UserError(f"{origin}: [{name}] {error}") from None
        try:
            return dataclasses.replace(self, **sections)
        except ValueError as error:
            raise UserError(f"{origin}: {error}") from None

    def to_dict(self) -> dict[str, dict[str, object]]:
        """Return nested plain dictionaries, ready for JSON."""
        sections = dataclasses.asdict(self)
        for values in sections.values():
            values.update({key: list(value) for key, value in values.items() if isinstance(value, tuple)})
        return sections

    def to_json(self) -> str:
        """Return the JSON text that `from_json` reads back to an equal config."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, origin: str = "config.json") -> typing.Self:
        """Read a config written by `to_json`; a UserError tells an unknown or wrong entry, or that it is not JSON."""
        try:
            values = parse_json(text)
            if not isinstance(values, dict):
                raise UserError(f"{origin} must hold an object of sections; restore it or train the run again")
            return cls().override(values, origin)
        except UnknownSettingError as error:
            raise UserError(f"{error} Another version wrote it: restore that, or train the run again") from None
        except ValueError as error:
            raise UserError(f"{origin} is not valid JSON ({error}); restore it or train the run again") from None
