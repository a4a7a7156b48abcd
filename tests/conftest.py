"""What all tests share: quiet TensorFlow, and where the data for experiments lie."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_folder():
    """Return a function from a name to that folder of $TRANSFORMER_DATA; it skips the test where there is none."""
    data = Path(os.environ.get("TRANSFORMER_DATA") or ROOT.parent / "shared" / "data")

    def find(name):
        folder = data / name
        if not folder.is_dir():
            pytest.skip(f"needs the data folder {name}; set TRANSFORMER_DATA to the folder that holds it")
        return folder

    return find
