"""From a trained run to translations: reading text, translating, warnings."""
