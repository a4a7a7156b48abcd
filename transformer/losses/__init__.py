"""Losses over real tokens, and how they are computed without holding all logits."""
