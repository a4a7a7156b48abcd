"""Which service answers for which kind of run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformer.checkpoints.run_directory import RunDirectory
from transformer.config.settings import AUTO
from transformer.inference.translator import Translator
from transformer.serving.config import ServeConfig
from transformer.serving.offer import Offer
from transformer.serving.translation_schemas import translation_offer
from transformer.serving.translation_service import TranslationService
from transformer.system.errors import UserError
from transformer.system.tensorflow import have_tensorflow
from transformer.tasks import COMMANDS

Answer = Callable[[Any, list, float], Sequence[bytes]]  # what a `Batcher` asks


def open_service(
    runs: Sequence[str],
    which: str,
    search: Mapping[str, Any],
    limits: ServeConfig,
    engine: str = AUTO,
    embed: bool = False,
) -> tuple[Answer, Offer]:
    """Load runs, make the graphs of the most frequent requests, and return what answers and what it offers.

    Args:
        runs: one, or several translators that work together.
        which: `best` or `last` weights.
        search: overrides settings of the run.
        limits: of requests.
        engine: of a translator, see `Translator.load`.
        embed: whether a masked language model makes vectors, instead of finding masked tokens.

    Raises:
        UserError: a run that cannot be loaded, or not be served.
    """
    names = [Path(run).resolve().name for run in runs]
    command = COMMANDS.get(RunDirectory(runs[0]).config().task.name)
    if command == "embed" or embed:
        if len(runs) > 1 or search:
            raise UserError(f"{runs[0]} makes vectors, and is served alone, without --beam-size; give one run")
        return _embedding(runs[0], which, limits, names)
    if command == "predict":
        if len(runs) > 1 or search:
            raise UserError(
                f"{runs[0]} predicts labels or tokens, and is served alone, without --beam-size; give one run"
            )
        return _prediction(runs[0], which, limits, names)
    if command == "generate":
        if len(runs) > 1:
            raise UserError(f"{runs[0]} is a language model, which is served alone; give one run")
        return _generation(runs[0], which, search, limits, names)
    translator = Translator.load(runs, which, engine, **search)
    translation = TranslationService(translator, limits)
    translation.warm_up()
    corpus = RunDirectory(runs[0]).corpus()
    about = {"run": names, **{side: corpus.get(side, "") for side in ("source_language", "target_language")}}
    if translator.confidence:
        about["examples"] = list(translator.confidence.examples)
    return translation.answer, translation_offer(limits, translation.default.beam_size, about)


def _prediction(run: str, which: str, limits: ServeConfig, names: Sequence[str]) -> tuple[Answer, Offer]:
    have_tensorflow()
    from transformer.inference.predictor import Predictor
    from transformer.serving.prediction_schemas import prediction_offer
    from transformer.serving.prediction_service import PredictionService

    predictor = Predictor.load(run, which)
    prediction = PredictionService(predictor)
    prediction.warm_up()
    return prediction.answer, prediction_offer(limits, predictor, {"run": names})


def _embedding(run: str, which: str, limits: ServeConfig, names: Sequence[str]) -> tuple[Answer, Offer]:
    have_tensorflow()
    from transformer.inference.embedder import Embedder
    from transformer.serving.embedding_schemas import embedding_offer
    from transformer.serving.embedding_service import EmbeddingService

    embedder = Embedder.load(run, which)
    embedding = EmbeddingService(embedder)
    embedding.warm_up()
    task = RunDirectory(run).config().task.name
    return embedding.answer, embedding_offer(limits, task, embedder.size, {"run": names})


def _generation(
    run: str, which: str, search: Mapping[str, Any], limits: ServeConfig, names: Sequence[str]
) -> tuple[Answer, Offer]:
    have_tensorflow()
    from transformer.inference.generator import Generator
    from transformer.serving.generation_schemas import generation_offer
    from transformer.serving.generation_service import GenerationService

    generator = Generator.load(run, which, **search)
    generation = GenerationService(generator, limits)
    generation.warm_up()
    about = {"run": names, "context": generator.context}
    return generation.answer, generation_offer(limits, generator.search, about)
