"""TFDS by name: suggestions for unknown names, one line when a download fails, progress on stderr only."""

import pytest
import tensorflow_datasets as tfds
import tiny_dataset
from tensorflow_datasets.core.download import downloader

from transformer.data.examples import downloads
from transformer.data.examples.downloads import ALTERNATIVES, prepare
from transformer.system.errors import UserError


@pytest.fixture(scope="module")
def tiny_pairs(tmp_path_factory):
    yield from tiny_dataset.keep_data_in(tmp_path_factory.mktemp("tfds"))


def failure(name):
    with pytest.raises(UserError) as error:
        prepare(name)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "ted_hrlr_translat/pt_to_en",
            "unknown dataset 'ted_hrlr_translat/pt_to_en'. Did you mean 'ted_hrlr_translate'?",
        ),
        ("phrasbook/pt_to_en", "unknown dataset 'phrasbook/pt_to_en'. Did you mean 'phrasebook'?"),
        ("phrasebook/pt_to_xx", "unknown dataset 'phrasebook/pt_to_xx'. Did you mean 'phrasebook/pt_to_"),
        ("phrasebook", "unknown dataset 'phrasebook/'. Did you mean 'phrasebook/"),
        (
            "ted_hrlr_translate/pt_to_em",
            "dataset 'ted_hrlr_translate' has no config 'pt_to_em'. Did you mean 'pt_to_en'?",
        ),
        ("ted_hrlr_translate", "dataset 'ted_hrlr_translate' has no config ''. Known: az_to_en, aztr_to_en,"),
        (
            "wmt14_translate/en-de",
            "dataset 'wmt14_translate' has no config 'en-de'. Did you mean 'de-en' with --source-language en?",
        ),
        ("ted_hrlr_translate/pt_to_en:9.9.9", "dataset 'ted_hrlr_translate/pt_to_en:9.9.9' cannot be opened: "),
        (
            "mnist",
            "dataset 'mnist' is no translation dataset (TFDS feature `Translation`); use the embedded phrasebook",
        ),
        ("", "unknown dataset ''."),
        ("../../etc/passwd", "unknown dataset '../../etc/passwd'."),
    ],
)
def test_unknown_names(name, message):
    assert failure(name).startswith(message)


def test_a_failed_download_is_one_line(tiny_pairs, monkeypatch, capsys, caplog):
    monkeypatch.setattr(downloads, "MAX_RETRIES", 1)
    before = downloader.MAX_RETRIES
    message = failure("tiny_pairs/refused")
    assert message == (
        f"dataset 'tiny_pairs/refused' cannot be downloaded (no answer from http://127.0.0.1:9/x.gz); {ALTERNATIVES}"
    )
    assert "--dataset phrasebook/pt_to_en" in message and "--source F --target F" in message and "--tsv F" in message
    output = capsys.readouterr()
    assert output.out == ""
    assert "tiny_pairs/refused: not on this machine yet, downloading it into " in output.err
    assert output.err.count("tiny_pairs/refused: no answer yet, trying again (") == 1
    assert not caplog.records  # urllib3's own warnings
    assert downloader.MAX_RETRIES == before


@pytest.mark.parametrize("config", ["by_hand", "packaged"])
def test_other_failures_of_a_download_are_one_line(tiny_pairs, config):
    assert failure(f"tiny_pairs/{config}").startswith(f"dataset 'tiny_pairs/{config}' cannot be downloaded (")


def test_a_prepared_dataset_is_not_prepared_again(tiny_pairs, capsys):
    assert prepare("tiny_pairs/pt_to_en").is_prepared()
    capsys.readouterr()
    prepare("tiny_pairs/pt_to_en")
    assert capsys.readouterr() == ("", "")


def test_the_phrasebook_has_its_own_builder(monkeypatch, capsys):
    def load_builder(direction):
        print("Downloading and preparing dataset")  # what TFDS says on stdout
        return f"builder of {direction}"

    monkeypatch.setattr("transformer.data.phrasebook.load_builder", load_builder)
    assert prepare("phrasebook/zh_to_pt") == "builder of zh_to_pt"
    assert capsys.readouterr() == ("", "Downloading and preparing dataset\n")
    assert len(downloads.DIRECTIONS) == 6


def test_retries_are_a_setting_of_this_tfds():
    assert isinstance(downloader.MAX_RETRIES, int) and downloads.MAX_RETRIES < downloader.MAX_RETRIES
    assert hasattr(tfds.core.DatasetBuilder, "is_prepared")


@pytest.mark.parametrize("folder", ["/proc/x", "/dev/null/x", "a file"])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, folder):
    if folder == "a file":
        folder = tmp_path / "file"
        folder.write_text("where a folder should be")
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(folder))
    message = rf"^cannot keep dataset '%s' in {folder} \(.+\); make room there, or name .* with \$TFDS_DATA_DIR$"
    for name in ("phrasebook/pt_to_en", "tiny_pairs/pt_to_en"):
        with pytest.raises(UserError, match=message % name) as error:
            prepare(name)
        assert "\n" not in str(error.value) and "Errno" not in str(error.value)


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(direction):  # as TFDS reports it
        raise RuntimeError(
            f"ResourceExhaustedError: Failed to finalize writing of split 'train': {tmp_path}; No space left on device"
        )

    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tmp_path))
    monkeypatch.setattr("transformer.data.phrasebook.load_builder", full)
    assert failure("phrasebook/pt_to_en").startswith(
        f"cannot keep dataset 'phrasebook/pt_to_en' in {tmp_path} (No space left on device); make room there, or "
    )
