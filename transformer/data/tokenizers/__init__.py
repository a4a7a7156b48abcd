"""Tokenizers and vocabularies: SentencePiece and WordPiece, learned and loaded."""
