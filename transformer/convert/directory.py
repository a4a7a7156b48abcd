"""Directories of exported models."""

from __future__ import annotations

EXPORT_FORMATS = ("savedmodel", "ctranslate2")
QUANTIZATIONS = ("float32", "int16", "int8")  # of an exported CTranslate2 model's weights; the first is the default
EXPORTED_BEAM = 8  # largest beam that an exported SavedModel can be asked for, where nothing else is said
