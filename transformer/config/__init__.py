"""Settings: sections, presets, config files, flags and what a run stores. No TensorFlow."""
