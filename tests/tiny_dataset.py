"""A TFDS builder of a few pairs, with configs that fail in the ways real datasets do."""

import importlib

import pytest
import tensorflow_datasets as tfds

PAIRS = {"train": [(f"frase {n} é", f"sentence {n}") for n in range(40)], "test": [("teste", "test")]}
SPLITS = {
    "pt_to_en": {**PAIRS, "validation": [("um", "one")], "free": [("livre", "free")]},
    "bare": {"train": PAIRS["train"]},
    "only_test": {"test": PAIRS["test"]},
    "refused": {},
    "by_hand": {},
    "packaged": {},
}


class TinyPairs(tfds.core.GeneratorBasedBuilder):
    """Portuguese and English, made up."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in SPLITS]

    def _info(self):
        features = tfds.features.Translation(["en", "pt"])
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("pt", "en"))

    def _split_generators(self, dl_manager):
        if self.builder_config.name == "refused":  # port 9 of this machine: nobody listens
            dl_manager.download("http://127.0.0.1:9/x.gz")
        if self.builder_config.name == "by_hand":
            dl_manager.manual_dir.joinpath("x").read_text()
        if self.builder_config.name == "packaged":
            importlib.import_module("a_package_nobody_has")
        return {split: self._generate_examples(pairs) for split, pairs in SPLITS[self.builder_config.name].items()}

    def _generate_examples(self, pairs):
        for number, (source, target) in enumerate(pairs):
            yield number, {"pt": source, "en": target}


def keep_data_in(folder):
    """Yield while TFDS keeps its data in `folder` instead of the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(folder))
        yield
