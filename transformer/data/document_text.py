"""Text preprocessing as the documents have it: for their readers only, and never in this package's pipeline."""

import re


def preprocess_text(text: str) -> str:
    """Return lower-cased text in which every run of characters other than a-z, A-Z and 0-9 is one space.

    Not for translation: it deletes accents and all Chinese ("ação" becomes "a o", "车站" an empty string), punctuation
    and case. `transformer.data.cleaning` and the subword tokenizers take its place.

    Source: document 000, section 5.1.1.
    """
    return re.sub(r"[^a-zA-Z0-9]+", " ", text.lower()).strip()
