"""Exports: a trained run as a SavedModel or for CTranslate2."""
