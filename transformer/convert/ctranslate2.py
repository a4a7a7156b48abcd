"""Exports of format 'ctranslate2': writing one, and translating with one, which may come from a stranger."""

from pathlib import Path

from transformer.checkpoints.arrays import model_variables
from transformer.config.run import Config
from transformer.config.settings import CTRANSLATE2
from transformer.config.stored_run import stored_config
from transformer.convert import ctranslate2_file
from transformer.convert.directory import check_digest, check_intact, read_description
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.inference import ctranslate2_engine
from transformer.inference.ctranslate2_model import library, save, unsupported
from transformer.inference.engine import Engines
from transformer.inference.translator import Translator
from transformer.system.errors import UserError
from transformer.system.files import path_inside
from transformer.system.threads import refuse_fork

MODEL = ctranslate2_file.MODEL
DAMAGED = "CTranslate2 cannot use {} ({}); export the run again"


def write(translator: Translator, config: Config, folder: Path, quantization: str) -> dict[str, object]:
    """Write model, tokenizer and config below a folder, and return what the export's description says of them.

    Raises:
        UserError: CTranslate2 is not installed, or does not know a setting of the model.
    """
    version = library().__version__
    if reason := unsupported(config.model, translator.tokenizers):
        raise UserError(f"{reason}; export with --format savedmodel")
    (folder / MODEL).mkdir()
    arrays = {name: variable.numpy() for name, variable in model_variables(translator.transformer).items()}
    save(arrays, config.model, translator.tokenizers, folder / MODEL, quantization)
    translator.tokenizers.save(folder / "tokenizer")
    (folder / "config.json").write_text(config.to_json(), encoding="utf-8")
    return {"quantization": quantization, "ctranslate2": version}


def load_export(export: str | Path, **search: float | str) -> Translator:
    """Return the translator of an export; `search` overrides the settings that came with it.

    It is as that of a run, except for what CTranslate2 lacks (see `ctranslate2_engine.refused`), and without models.

    Raises:
        UserError: CTranslate2 is not installed or lacks what is asked for; there is no such export, it is of another
            format, incomplete or damaged; a search value is out of range.
        RuntimeError: what `refuse_fork` raises.
    """
    refuse_fork()
    library()
    path = Path(export)
    description = read_description(path)
    if description["format"] != CTRANSLATE2:
        raise UserError(f"{path} is an export of format '{description['format']}'; make one with --format ctranslate2")
    check_intact(path, ctranslate2_file.MOST)
    # What the run's own search asks for is no reason to refuse the export, but what is asked for now.
    config = stored_config(path)
    left_out = {name: off for name, off, _ in ctranslate2_engine.LACKING} | {"finished": "leave"}
    config = config.override({"search": left_out}, "search").override({"search": search}, "search")
    tokenizers = TokenizerPair.load(path_inside(path, "tokenizer"))
    length = ctranslate2_file.check(path, config.model, tokenizers)
    check_digest(path, f"{MODEL}/{ctranslate2_file.WEIGHTS}", length)

    def opened() -> ctranslate2_engine.CTranslate2Engine:
        model = path_inside(path, MODEL)
        return ctranslate2_engine.CTranslate2Engine(model, tokenizers, config.model.cached, DAMAGED)

    engines = Engines(None, opened, ctranslate2_engine.refused)
    language = str(description["source_language"])
    return Translator(engines, tokenizers, config.search, config.model.max_positions, language, config.cleaning)
