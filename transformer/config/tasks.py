"""The settings of each task, which are the section [task] of a config."""

import dataclasses
from dataclasses import dataclass

from transformer.config.checks import require


@dataclass(frozen=True)
class TranslationSettings:
    """From a sentence of one language to a sentence of another."""

    name: str = "translation"
    source_language: str = ""  # two-letter code; empty: read from a TFDS name, or not known
    target_language: str = ""


SETTINGS: dict[str, type] = {"translation": TranslationSettings}  # by the task's name


def register_settings(name: str, settings: type) -> None:
    """Make the settings of a user's own task known, so that a config can name it.

    Args:
        name: of the task.
        settings: frozen dataclass whose first field is `name`, with the task's name as its default.

    Raises:
        ValueError: it is no such class.
    """
    fields = dataclasses.fields(settings) if dataclasses.is_dataclass(settings) else ()
    named = fields and (fields[0].name, fields[0].default) == ("name", name)
    require(bool(named), f"Settings of task '{name}'", f"a dataclass that begins with name: str = '{name}'", settings)
    SETTINGS[name] = settings
