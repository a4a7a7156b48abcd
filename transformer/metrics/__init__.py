"""Scores: BLEU and chrF."""
