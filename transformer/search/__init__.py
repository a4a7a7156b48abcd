"""Decoding: the loop with its cache, beam search, sampling, and rules about the next token."""
