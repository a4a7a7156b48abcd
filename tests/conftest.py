"""What all tests share: quiet TensorFlow, Ctrl-C, and where the data for experiments and the documents lie."""

import gc
import importlib
import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as in the scripts, which tests compare with this process

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items):
    """Begin with the longest files, notebooks and training, so that no process is left alone with one in the end."""
    items.sort(key=lambda item: (item.path.name != "test_notebooks.py", item.path.parent.name != "training"))


def pytest_collection_finish(session):
    """Spare the search for garbage what was imported: a million objects; and tiny graphs what costs more than it gains.

    TensorFlow would rewrite each graph before it first runs it. What is slow is tested as it is used.
    """
    if "tensorflow" in sys.modules and session.config.option.markexpr != "slow":
        sys.modules["tensorflow"].config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    if "transformer.inference.translator" in sys.modules:
        importlib.import_module("shared_graphs")
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory):
    """Keep converted models and stored examples out of the user's own cache folder."""
    os.environ.setdefault("TRANSFORMER_CACHE", str(tmp_path_factory.mktemp("cache")))


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


@pytest.fixture(scope="session")
def document():
    """Return a function from a document's number, such as '000', to its text; it skips the test where it is absent."""

    def read(number):
        found = list((ROOT.parent / "shared" / "documents").glob(f"{number}_*.txt"))
        if not found:
            pytest.skip("needs the documents folder, ../shared/documents")
        return found[0].read_text(encoding="utf-8")

    return read


@pytest.fixture
def handlers():
    """Let new processes heed Ctrl-C, as those of a terminal do, and put back in the end what handles the signals."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # that it is ignored, as in a job, is inherited
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def steps_given_back():
    """Let the next test have the compiled steps of the trainers of this one; see shared_graphs.py."""
    shared_graphs = sys.modules.get("shared_graphs")
    keep = shared_graphs.taken() if shared_graphs else set()  # those of a module's fixtures
    yield
    if shared_graphs:
        shared_graphs.give_back(keep)


def resident():
    """Return the bytes of memory that this process has now, where the system tells."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return float("inf")


@pytest.fixture(autouse=True)
def loaded_once(request, monkeypatch):
    """Let the commands take a translator that was loaded before from the same files, with its graphs."""
    if request.path.parent.name == "commands" and "shared_graphs" in sys.modules:
        shared_graphs = sys.modules["shared_graphs"]
        monkeypatch.setattr(shared_graphs.translator.Translator, "load", classmethod(shared_graphs.load))


_after_collection = [0.0]  # bytes


@pytest.fixture(autouse=True, scope="module")
def memory_given_back():
    """Drop a module's models and graphs behind it; those of half the modules together took more than 8 GB."""
    yield
    if "shared_graphs" in sys.modules:
        sys.modules["shared_graphs"].forget()
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session(free_memory=False)
        if resident() > _after_collection[0] + 2**30:  # a web of references, which takes seconds to search
            gc.collect()
            _after_collection[0] = resident()
