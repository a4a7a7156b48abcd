"""A quiet import of TensorFlow."""

import os
import platform
import sys

from transformer.system.threads import share_cores

_decoding_alone: list[bool] = []  # not empty: what this process wants of TensorFlow


def for_decoding_alone() -> None:
    """Ask that TensorFlow, should this process ever import it, be set up for nothing but decoding.

    Its graphs are not rewritten, see `import_tensorflow`, and its batches share the cores, see `share_cores`.
    """
    _decoding_alone.append(True)


def have_tensorflow() -> None:
    """Import TensorFlow, see `import_tensorflow`, unless that was done."""
    if "tensorflow_text" not in sys.modules:
        import_tensorflow()


def import_tensorflow(optimise: bool = True) -> None:
    """Import TensorFlow and its text operations while what their C++ code writes to stderr goes nowhere.

    `TF_CPP_MIN_LOG_LEVEL` silences the rest, but not the notes written before the log is set up ("Could not find cuda
    drivers on your machine"). An exception during the import is raised, and shown, as ever.

    On x86, TensorFlow uses oneDNN's matrix multiplication by itself only where the processor has instructions for
    neural networks. It is faster on others too, so it is asked for, unless the environment says otherwise.

    `optimise` says whether TensorFlow rewrites graphs before it first runs them. That makes decoding no faster, and
    delays a single sentence by 0.3 s.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" not in sys.modules and platform.machine() in ("x86_64", "AMD64"):  # later it has no effect here
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    sys.stderr.flush()
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import tensorflow
        import tensorflow_text  # noqa: F401 - registers its operations

        tensorflow.config.list_physical_devices()
        if _decoding_alone:
            share_cores()
        if _decoding_alone or not optimise:
            tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
