"""From text to batches of token ids: cleaning, records on disk, the input pipeline."""
