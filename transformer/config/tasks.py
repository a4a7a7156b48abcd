"""The settings of each task, which are the section [task] of a config."""

import dataclasses
from dataclasses import dataclass

from transformer.config.checks import require, require_choice


@dataclass(frozen=True)
class TranslationSettings:
    """From a sentence of one language to a sentence of another."""

    name: str = "translation"
    source_language: str = ""  # two-letter code; empty: read from a TFDS name, or not known
    target_language: str = ""


DOCUMENTS = ("file", "blank_line", "line")  # what a document of a text file is


@dataclass(frozen=True)
class LanguageModelSettings:
    """From a text to its next token."""

    name: str = "language-model"
    documents: str = "file"  # one is a 'file', ends at a 'blank_line', or is a 'line'; of JSON lines, always a line
    validation_share: float = 0.1  # of the characters, the last ones, where the source has no validation split
    cross_documents: bool = True  # whether a token sees the documents before its own in the window
    start_token: bool = True  # whether a document, and thus a prompt, begins with the start token
    language: str = "en"  # of the phrasebook's sentences

    def __post_init__(self) -> None:
        require_choice("documents", self.documents, DOCUMENTS)
        require(0 < self.validation_share < 1, "validation_share", "above 0 and below 1", self.validation_share)
        require_choice("language", self.language, ("pt", "en", "zh"))


SETTINGS: dict[str, type] = {  # by the task's name
    "translation": TranslationSettings,
    "language-model": LanguageModelSettings,
}


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
