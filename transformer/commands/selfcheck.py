r"""Check a trained run: ways to compute the same thing must agree.

    transformer selfcheck RUN [--input F]

Prints a table with the largest difference seen in each check, and leaves with code 1 where one is too large.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformer.commands.parser import Parser
from transformer.commands.task_flag import add_task_flag, load_own_task
from transformer.config.settings import AUTO, TENSORFLOW
from transformer.ids import END_ID, PAD_ID, START_ID, UNKNOWN_ID
from transformer.system.errors import UserError
from transformer.system.interrupts import starting
from transformer.system.messages import called, say
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

if TYPE_CHECKING:
    import numpy as np

    from transformer.inference.translator import Translator

SENTENCES = 20
DRAWN = 50 * SENTENCES  # random sentences, of which a model with few positions can read few
PADDING = 7  # tokens by which a sentence and its translation are padded, where there are positions for them
TOGETHER = 64  # sentences given to the export at once
TOLERANCE = 1e-3  # nats of a token's log-probability; float32 leaves some 1e-5
# Settings without sampling and rules, under which a sentence is translated as it is.
PLAIN_SEARCH = {
    "temperature": 0.0,
    "no_repeat_ngram": 0,
    "repetition_penalty": 1.0,
    "min_length": 0,
    "min_length_ratio": 0.0,
    "cut": "long",
}
# With these, CTranslate2 searches as TensorFlow does.
SAME_SEARCH = {"finished": "leave", "penalty": "length", "coverage_penalty": 0.0}
NEAR_TIE = 1e-2  # nats of a translation's score: two hypotheses as near as that may change places


@dataclasses.dataclass(frozen=True)
class Check:
    """One row of the table."""

    name: str  # what must agree
    cases: int  # how many were compared
    difference: float  # the largest one seen, in nats
    broken: int  # how many differ by more than rounding explains

    @classmethod
    def of(cls, name: str, differences: Sequence[float], most: float) -> Check:
        """Return the row of some differences, of which none is to be above `most`, or no number."""
        return cls(name, len(differences), max(differences), sum(not difference <= most for difference in differences))


def some_sentences(translator: Translator, seed: int = 1) -> list[str]:
    """Return sentences of random words of the run's own vocabulary, of 1 to about 20 tokens, that the model reads."""
    import numpy as np

    generator, size = np.random.default_rng(seed), translator.tokenizers.source.vocabulary_size
    most = min(20, translator.max_positions - 2)
    if most < 1:
        return []
    rows = [generator.integers(END_ID + 1, size, generator.integers(1, most + 1)).tolist() for _ in range(DRAWN)]
    texts = [" ".join(text.split()) for text in translator.tokenizers.source.decode(rows)]
    return [text for text, _ in readable(translator, texts)][:SENTENCES]


def readable(translator: Translator, sentences: list[str]) -> list[tuple[str, list[int]]]:
    """Return those sentences that the model reads in one piece, and their ids."""
    encoded = zip(sentences, translator.encode(sentences), strict=True)
    return [(text, row) for text, row in encoded if 2 < len(row) <= translator.max_positions]


def token_log_probabilities(translator: Translator, row: list[int], ids: list[int], padding: int = 0) -> np.ndarray:
    """Return log P of each id after the ones before it, computed at once without a cache: (T,).

    Both sides are padded by so many tokens, or by fewer where the model has no more positions.
    """
    import tensorflow as tf

    def padded(tokens: list[int]) -> tf.Tensor:
        return tf.constant([[*tokens, *[PAD_ID] * min(padding, translator.max_positions - len(tokens))]])

    source, target_in = padded(row), padded([START_ID, *ids[:-1]])
    outputs, _ = translator.transformer.decode(source, target_in, training=False)
    logs = tf.nn.log_softmax(translator.transformer.project(outputs))[0, : len(ids)]
    return tf.gather(logs, ids, batch_dims=1).numpy()


def found_ids(translator: Translator, row: list[int]) -> tuple[list[int], list[float]]:
    """Return the ids of the best hypothesis and their log-probabilities."""
    found = translator.find([row])
    length = int(found.lengths[0, 0])
    return found.ids[0, 0, :length].tolist(), found.token_log_probabilities[0, 0, :length].tolist()


def greedy_without_cache(translator: Translator, row: list[int]) -> list[int]:
    """Return the tokens of greedy search that computes every position anew at each step."""
    import numpy as np
    import tensorflow as tf

    limits, _ = translator.limits(np.array([len(row)]))
    ids: list[int] = []
    while len(ids) < limits[0] and END_ID not in ids:
        outputs, _ = translator.transformer.decode(tf.constant([row]), tf.constant([[START_ID, *ids]]), training=False)
        logits = translator.transformer.project(outputs)[0, -1].numpy()
        logits[[PAD_ID, UNKNOWN_ID, START_ID]] = -np.inf
        ids.append(int(logits.argmax()))
    return ids


def usable(translator: Translator, sentences: list[str] | None) -> tuple[tuple[str, ...], tuple[list[int], ...]]:
    """Return those sentences, or `some_sentences`, that are read in one piece, and their ids; none is a UserError."""
    found = readable(translator, sentences or some_sentences(translator))
    if not found:
        raise UserError("there is no sentence that the model reads in one piece; give others with --input")
    return tuple(text for text, _ in found), tuple(row for _, row in found)


def check_export(load: Callable, sentences: list[str] | None = None) -> Check:
    """Return the row that compares the translator with its SavedModel, written and loaded again; see `run_checks`."""
    import tensorflow as tf

    from transformer.convert import savedmodel

    translator = load(**PLAIN_SEARCH)
    vocabulary = translator.tokenizers.target.vocabulary_size
    if translator.search.beam_size > vocabulary:  # more than an export can be asked for
        translator = load(**PLAIN_SEARCH, beam_size=vocabulary)
    texts, _ = usable(translator, sentences)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, savedmodel.TEXT)
        savedmodel.save(translator, path, savedmodel.TEXT, translator.search.beam_size)
        signature = tf.saved_model.load(str(path)).signatures[savedmodel.TEXT_SIGNATURE]
        groups = [texts[first : first + TOGETHER] for first in range(0, len(texts), TOGETHER)]
        options = {"beam_size": tf.constant(translator.search.beam_size), "n_best": tf.constant(1)}
        options["length_penalty"] = tf.constant(translator.search.length_penalty)
        found = [signature(sentences=tf.constant(group), **options)["scores"] for group in groups]
        scores = tf.concat(found, axis=0)[:, 0].numpy()
    pairs = zip(scores, translator.translate(texts), strict=True)
    differences = [abs(float(theirs) - ours[0].score) for theirs, ours in pairs]
    return Check.of("exported = original", differences, NEAR_TIE)


def check_engines(load: Callable, sentences: list[str] | None = None) -> Check | None:
    """Return the row that compares the translations of the two engines; None where CTranslate2 cannot read the model.

    Args:
        load: returns the translator of the run that an `engine` computes; other arguments override its search.
        sentences: what to check with; None: `some_sentences`.
    """
    ours = load(engine=TENSORFLOW, **PLAIN_SEARCH, **SAME_SEARCH)
    theirs = load(engine=AUTO, **PLAIN_SEARCH, **SAME_SEARCH)
    if theirs.engine.name == TENSORFLOW:
        say(f"the engines are not compared: {theirs.engines.reason(theirs.search)}")
        return None
    texts, _ = usable(ours, sentences)
    pairs = zip(ours.translate(texts), theirs.translate(texts), strict=True)
    return Check.of(
        "ctranslate2 = tensorflow", [abs(mine[0].score - other[0].score) for mine, other in pairs], NEAR_TIE
    )


def run_checks(
    load: Callable, sentences: list[str] | None = None, progress: Callable[[int, int], None] = lambda done, count: None
) -> list[Check]:
    """Return the rows of the table that need no export.

    Args:
        load: returns the translator of the run; keyword arguments override its search. Called several times.
        sentences: what to check with; None: `some_sentences`.
        progress: called with the number of sentences done and that of all.
    """
    import numpy as np

    translator, greedy = load(**PLAIN_SEARCH), load(**PLAIN_SEARCH, beam_size=1)
    texts, rows = usable(translator, sentences)
    progress(0, len(texts))

    def gap(ours: Any, theirs: Any) -> float:
        return float(np.max(np.abs(np.subtract(ours, theirs))))

    padded, cached, alone, greedily, unlike = [], [], [], [], 0
    together = translator.translate(texts)
    for number, (text, row) in enumerate(zip(texts, rows, strict=True)):
        ids, tokens = found_ids(translator, row)
        whole = token_log_probabilities(translator, row, ids)
        padded.append(gap(token_log_probabilities(translator, row, ids, PADDING), whole))
        cached.append(gap(tokens, whole))
        alone.append(abs(together[number][0].score - translator.translate([text])[0][0].score))
        ids, tokens = found_ids(greedy, row)
        expected = greedy_without_cache(greedy, row)
        greedily.append(abs(sum(tokens) - float(sum(token_log_probabilities(greedy, row, expected)))))
        unlike += ids != expected and not greedily[-1] <= NEAR_TIE
        progress(number + 1, len(texts))

    weights = zip(translator.transformer.weights, load(**PLAIN_SEARCH).transformer.weights, strict=True)
    reloaded = [gap(ours.numpy(), theirs.numpy()) for ours, theirs in weights]
    return [
        Check.of("padded = unpadded", padded, TOLERANCE),
        Check.of("cached = uncached", cached, TOLERANCE),
        Check.of("batched = single", alone, NEAR_TIE),
        Check("beam 1 = greedy", len(texts), max(greedily), unlike),
        Check.of("reloaded = original", reloaded, TOLERANCE),
    ]


def parser() -> Parser:
    """Return the command line."""
    p = Parser(prog=called("selfcheck"), description="Check a trained run: ways to compute the same thing must agree.")
    p.add_argument("run", metavar="RUN")
    add_task_flag(p)
    p.add_argument(
        "--input",
        metavar="F",
        help="check with these sentences, some tens: each is translated alone, also without a cache (default: "
        f"{SENTENCES} of random words of the vocabulary)",
    )
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parser().parse_args(argv)

    def job() -> None:
        with starting():
            import_tensorflow()
            load_own_task(args.task)
            from transformer.data.examples import text_files
            from transformer.inference.translator import Translator

        def load(engine: str = TENSORFLOW, **search: Any) -> Translator:
            return Translator.load(args.run, engine=engine, **search)

        def show(done: int, count: int) -> None:
            say(f"{done:,} of {count:,} sentences checked", in_place=True)

        sentences = list(text_files.lines(Path(args.input))) if args.input else None
        checks = run_checks(load, sentences, show)
        say("")
        say("exporting the run to a temporary directory and loading it again")
        checks.append(check_export(load, sentences))
        checks += filter(None, [check_engines(load, sentences)])
        print(f"{'check':<24}{'cases':>6}  {'largest difference':>18}  result")
        for check in checks:
            result = f"{check.broken} broken" if check.broken else "ok"
            print(f"{check.name:<24}{check.cases:>6}  {check.difference:>18.2e}  {result}")
        if any(check.broken for check in checks):
            raise UserError(f"{args.run} does not agree with itself; the table says where")

    return exit_code(job)
