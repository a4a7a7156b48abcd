"""What `transformer predict` does with a predictor: lines in, results out."""

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from transformer.commands.translate_lines import arguments, groups, output, prompted, standard_input
from transformer.data.examples import text_files
from transformer.data.examples.tables import has_columns, unlabelled
from transformer.inference.predictor import Predictor, Result, described, warnings
from transformer.system.messages import escaped, for_terminal, one_line, say
from transformer.tasks.answers import FoundAnswer
from transformer.tasks.classification import Classification
from transformer.tasks.filled_masks import FilledMasks
from transformer.tasks.tagging import Tags

COLOURS = (36, 33, 32, 35, 34, 31)  # of the kinds of entities on a terminal, in the order of their names
TOGETHER = 1024  # lines


def context_of(text: str | None, path: str | None) -> str | None:
    """Return the text that is given as such or in a file; None where neither is."""
    if text is not None:
        return next(arguments([text], "--context"))
    return None if path is None else "\n".join(text_files.lines(Path(path)))


def predict_lines(
    predictor: Predictor,
    texts: Sequence[str],
    input_path: str | None,
    output_path: str | None,
    context: str | None,
    as_json: bool,
    top_k: int | None = None,
) -> None:
    """Predict texts, the lines of a file, or those of standard input, and write what `render` returns for each.

    Texts typed at a terminal are answered one by one; others together, those of a pipe when no more are at hand.
    `top_k` is that of `Predictor.predict`. What cannot be read or written is a UserError.
    """
    kinds = sorted({label.partition("-")[2] or label for label in predictor.labels} - {"O"})
    done = 0
    with output(output_path) as file:
        colours = dict(zip(kinds, COLOURS * len(kinds), strict=False)) if file.isatty() else {}
        for inputs in input_groups(predictor, texts, input_path, context):
            found = predictor.predict([one[0] if len(one) == 1 else one for one in inputs], top_k)
            for number, (one, result) in enumerate(zip(inputs, found, strict=True), start=done + 1):
                if told := warnings(one, result):
                    say(f"warning: text {number}: {'; '.join(told)}")
                if as_json:
                    print(for_terminal(json.dumps(described(one, result), ensure_ascii=False), file), file=file)
                else:
                    print(*render(one, result, colours), sep="\n", file=file)
            file.flush()
            done += len(inputs)
            if output_path:
                say(f"{done:,} texts done", in_place=True)
    if output_path:
        say("")


def input_groups(
    predictor: Predictor, texts: Sequence[str], input_path: str | None, context: str | None
) -> Iterator[list[tuple[str, ...]]]:
    """Yield some inputs at a time: the rows of a table, or lines."""
    task = predictor.task
    if input_path and isinstance(task, Classification) and has_columns(Path(input_path)):
        rows = unlabelled(Path(input_path), task.settings)
        while some := list(itertools.islice(rows, TOGETHER)):
            yield some
        return
    lines, idle = source_lines(texts, input_path)
    done = 0
    for group in groups(lines, TOGETHER, idle):
        yield [predictor.input_of(line, context, done + i) for i, line in enumerate(group, start=1)]
        done += len(group)


def source_lines(texts: Sequence[str], input_path: str | None) -> tuple[Iterable[str], Callable[[], bool] | None]:
    """Return the lines, and the `idle` of `groups`."""
    if texts:
        for text in texts:
            if Path(text).suffix and os.path.isfile(text):
                say(f"warning: {one_line(text)} is a file, and its name is read as a text; to read its lines: --input")
        return arguments(texts, "text"), None
    if input_path:
        return text_files.lines(Path(input_path)), None
    if sys.stdin.isatty() and sys.stdout.isatty():
        return prompted("> ", "text"), lambda: True
    return standard_input()


def render(texts: Sequence[str], result: Result, colours: dict[str, int]) -> list[str]:
    """Return the output lines of a result.

    Args:
        texts: of the input.
        result: what is said of it.
        colours: of kinds of entities, for a terminal; empty: none.
    """
    if isinstance(result, FoundAnswer):
        place = f"{result.start}-{result.end}" if result.text else "-"
        return ["\t".join([_shown(result.text) or "(no answer)", f"{result.probability:.4f}", place, _shown(texts[0])])]
    if isinstance(result, Tags):
        entities = [f"  {e.start}-{e.end}\t{e.kind}\t{e.probability:.4f}\t{_shown(e.text)}" for e in result.entities]
        return [_marked(result, colours), *entities]
    if isinstance(result, FilledMasks):
        candidates = [(mask, candidate) for mask in result.masks for candidate in mask.candidates]
        return [
            _shown(texts[0]),
            *(f"  {m.start}-{m.end}\t{c.probability:.4f}\t{_shown(c.text)}" for m, c in candidates),
        ]
    shown = " | ".join(map(_shown, texts))
    if result.value is not None:
        return [f"{result.value:.4f}\t{shown}"]
    labels = result.labels or ("-",)
    chances = [f"{result.probabilities[label]:.4f}" for label in result.labels] or ["-"]
    return ["\t".join([",".join(labels), ",".join(chances), shown])]


def _shown(text: str) -> str:
    """Return a text on one line, without what would end a column or steer a terminal."""
    return escaped(" ".join(text.splitlines()).replace("\t", " "))


def _marked(tags: Tags, colours: dict[str, int]) -> str:
    """Return a text on one line whose entities have the colour of their kind."""
    if not colours:
        return _shown(tags.text)
    parts, place = [], 0
    for entity in tags.entities:
        parts.append(_shown(tags.text[place : entity.start]))
        colour = colours.get(entity.kind, COLOURS[0])
        parts.append(f"\x1b[1;{colour}m{_shown(entity.text)}\x1b[0m")
        place = entity.end
    return "".join([*parts, _shown(tags.text[place:])])
