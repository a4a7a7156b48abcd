"""Models that an installed package carries."""

import pytest
from hand_written_bert import BERT, random_tensors, write_model

from transformer.commands import convert
from transformer.convert.huggingface.installed import folder_in
from transformer.system.errors import UserError


def install(site, name, *folders, broken=False):
    """Lay a package with models out as pip does, and as Python finds it."""
    record = []
    for folder in folders:
        write_model(site / folder, BERT, random_tensors(BERT))
        files = ["config.json", "vocab.txt", "tokenizer_config.json", *([] if broken else ["model.safetensors"])]
        record += [f"{folder}/{file},," for file in files]
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text("\n".join(record) + "\n")
    (site / "carrier").mkdir(exist_ok=True)
    (site / "carrier" / "__init__.py").write_text("raise SystemExit('this ran')")


def test_its_folder_is_found_and_nothing_of_it_runs(tmp_path, monkeypatch, capsys):
    install(tmp_path / "site", "a-model", "carrier/model")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert folder_in("a-model") == tmp_path / "site/carrier/model"
    assert convert.main(["huggingface", "package:a-model", str(tmp_path / "run")]) == 0
    assert "run: 2 layers, 16 wide" in capsys.readouterr().out


def test_packages_without_one_model_are_told(tmp_path, monkeypatch):
    install(tmp_path / "site", "two-models", "carrier/one", "carrier/two")
    install(tmp_path / "site", "half-a-model", "carrier/half", broken=True)
    monkeypatch.syspath_prepend(tmp_path / "site")
    for name, rule in (
        ("missing-model", "no package 'missing-model' is installed here; install it without its dependencies: pip"),
        ("", "no package '' is installed here"),
        ("two-models", "has 2 models: .*one, .*two; name one of these"),
        ("half-a-model", "has no model: no model.safetensors beside a config.json"),
    ):
        with pytest.raises(UserError, match=rule):
            folder_in(name)
