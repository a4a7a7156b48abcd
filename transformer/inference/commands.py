"""What `translate.py` does with a translator: lines in, as many lines out."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from transformer.command_line import one_line
from transformer.config import DEFAULT_RUN, UserError
from transformer.data import textfiles
from transformer.inference.translation import Translation, described
from transformer.inference.translator import Translator
from transformer.threads import share_cores

LINES_TOGETHER = 2048  # sorted by length and translated together
CHARACTERS_TOGETHER = 500_000  # no line is added to as many; both bound the memory


def groups(lines: Iterable[str], most: int) -> Iterator[list[str]]:
    """Yield up to `most` lines at a time, fewer where they are long."""
    group, characters = [], 0
    for line in lines:
        group.append(line)
        characters += len(line)
        if len(group) == most or characters >= CHARACTERS_TOGETHER:
            yield group
            group, characters = [], 0
    if group:
        yield group


def arguments(sentences: Iterable[str]) -> Iterator[str]:
    """Yield sentences of the command line, each on one line.

    Raises:
        UserError: a sentence is not UTF-8; Python hands its odd bytes on as lone surrogates.
    """
    for number, sentence in enumerate(sentences, start=1):
        try:
            sentence.encode("utf-8")
        except UnicodeEncodeError:
            raise UserError(f"sentence {number} is not UTF-8; convert it first") from None
        yield sentence.replace("\n", " ")


@contextlib.contextmanager
def output(path: str | None) -> Iterator[TextIO]:
    """Open stdout, or a file that appears under its name only when it is complete.

    A device or a named pipe is written to and never replaced, and a link stays a link.

    Raises:
        UserError: the file cannot be written.
    """
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):  # a notebook has another one
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        yield sys.stdout
        return
    if os.path.isdir(path):
        raise UserError(f"cannot write {path}: it is a directory; name a file with --output")
    replaced = os.path.isfile(path) or not os.path.exists(path)
    target = Path(os.path.realpath(path) if replaced else path)
    draft = target.with_name(f".{target.name}.{os.getpid()}") if replaced else target
    try:
        with open(draft, "w", encoding="utf-8", newline="\n") as file:
            yield file
        if replaced:
            os.replace(draft, target)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; name another file with --output") from None
    finally:
        if replaced:
            with contextlib.suppress(OSError):  # renamed, or never made
                draft.unlink()


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What the user wants to see.

    Attributes:
        n_best: hypotheses of a sentence, at most the beam size; more than one needs `as_json`.
        scores: write score TAB translation.
        as_json: write one JSON object a line.
        prefix: how every translation has to begin.
        picture: PNG file for the attention of the one sentence, or None.
        heads: draw every layer and head in it.
        alignment: mark in it what each token attends to most.
    """

    n_best: int = 1
    scores: bool = False
    as_json: bool = False
    prefix: str = ""
    picture: str | None = None
    heads: bool = False
    alignment: bool = False


def open_translator(
    engine: str,
    runs: Sequence[str] | None,
    which: str,
    search: Mapping[str, Any],
) -> Translator:
    """Return the translator that flags name; it divides the cores of this process among its streams.

    Args:
        engine: 'tensorflow' or 'ctranslate2'.
        runs: run directories, or one export; None: the default run.
        which: `best` or `last` weights, of runs.
        search: settings that override those of the first.

    Raises:
        UserError: it cannot be loaded.
    """
    share_cores()
    if runs and engine == "ctranslate2":
        from transformer.inference.ctranslate2_translator import CTranslate2Translator

        return CTranslate2Translator.load(runs[0], **search)
    return Translator.load(runs or DEFAULT_RUN, which, **search)


def render(source: str, hypotheses: list[Translation], wanted: Wanted) -> str:
    """Return the output line of one sentence."""
    best = hypotheses[0]
    if not wanted.as_json:
        return f"{best.score:.4f}\t{best.text}" if wanted.scores else best.text
    return json.dumps(described(source, hypotheses), ensure_ascii=False)


def prompted() -> Iterator[str]:
    """Yield what is typed after a prompt, with the line editing and history of `readline`, until Ctrl-D.

    Raises:
        UserError: a line is not UTF-8.
    """
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives `input` arrow keys and history
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # as the command line does
    print("Type a sentence and press Enter; Ctrl-D ends.", file=sys.stderr)
    with contextlib.suppress(EOFError):
        while True:
            yield from arguments([input("> ")])
    print(file=sys.stderr)  # the shell's own prompt on a line of its own


def translate_lines(
    translator: Translator,
    sentences: list[str],
    input_path: str | None,
    output_path: str | None,
    wanted: Wanted,
) -> None:
    """Translate sentences, a file, or standard input, and write one line for each.

    Lines typed at a terminal are answered one by one; others in groups of `LINES_TOGETHER`.

    Raises:
        UserError: the input cannot be read or the output cannot be written.
    """
    lines: Iterable[str]
    typed = not (sentences or input_path) and sys.stdin.isatty()
    if sentences:
        lines = arguments(sentences)
        for name in filter(os.path.isfile, sentences):
            print(one_line(f"warning: {name} is a file; for its lines: --input {name}"), file=sys.stderr)
    elif input_path:
        lines = textfiles.lines(Path(input_path))
    elif typed and sys.stdout.isatty():
        lines = prompted()
    else:
        lines = textfiles.decoded(sys.stdin.buffer, "standard input")
    done, with_attention, unended = 0, wanted.as_json or bool(wanted.picture), ""
    with output(output_path) as file:
        for group in groups(lines, 1 if typed else LINES_TOGETHER):
            prefixes = [wanted.prefix] * len(group)
            results = translator.translate(
                group, wanted.n_best, with_attention, prefixes=prefixes, with_heads=wanted.heads
            )
            for number, (line, hypotheses) in enumerate(zip(group, results, strict=True), start=done + 1):
                for warning in hypotheses[0].warnings:
                    print(f"{unended}warning: line {number}: {warning}", file=sys.stderr)
                    unended = ""
                print(render(line, hypotheses, wanted), file=file)
            file.flush()
            done += len(group)
            if output_path:
                print(f"\r{done:,} lines translated", end="", file=sys.stderr, flush=True)
                unended = "\n"
            if wanted.picture:
                _draw(results[0][0], wanted)
    if output_path:
        print(file=sys.stderr)


def _draw(translation: Translation, wanted: Wanted) -> None:
    from transformer.plots import attention_map

    if translation.attention is None:
        raise UserError("an empty text, or one that is longer than the model reads, has no attention map")
    attention_map(translation, wanted.picture, wanted.heads, wanted.alignment)
