"""A reference Transformer for TensorFlow and Keras 3: the documents' layers, and a translator made of them.

`__init__.pyi` lists the names that are importable from here, for editors and type checkers as for this file, which
imports each when it is first asked for: `transformer --help` or a typo in a flag does not wait for TensorFlow.
TensorFlow is then imported without the notes that it writes to stderr; $TF_CPP_MIN_LOG_LEVEL, where it is set, says how
much it tells later.
"""

import ast
import importlib
import sys
from pathlib import Path

__version__ = "0.1.0"

# Of these, some import it when they need it. `evaluate` and `translate` share a module.
_WITHOUT_TENSORFLOW = ("Config", "Translator", "UserError", "evaluate", "preprocess_text", "translate")
_MODULE_OF = {
    imported.name: statement.module
    for statement in ast.parse(Path(__file__).with_suffix(".pyi").read_bytes()).body
    if isinstance(statement, ast.ImportFrom)
    for imported in statement.names
}
__all__ = sorted(_MODULE_OF)


def __getattr__(name):
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'transformer' has no attribute '{name}'")
    if name not in _WITHOUT_TENSORFLOW and "tensorflow" not in sys.modules:
        importlib.import_module("transformer.system.tensorflow").import_tensorflow()
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_MODULE_OF})
