"""Where examples come from: text files, TFDS, the embedded phrasebook, held-out pairs."""
