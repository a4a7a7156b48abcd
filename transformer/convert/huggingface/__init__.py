"""Folders of Hugging Face's transformers: read to runs, and written from them."""
