"""What `transformer translate` does with a translator: lines in, as many lines out."""

import contextlib
import dataclasses
import io
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from transformer.checkpoints.run_directory import BEST, RunDirectory
from transformer.config.settings import DEFAULT_RUN, TENSORFLOW
from transformer.config.stored_run import EXPORT
from transformer.data.examples import text_files
from transformer.inference.live_input import LiveInput
from transformer.inference.result import Translation, described
from transformer.inference.translator import Translator
from transformer.system.errors import UserError
from transformer.system.messages import for_terminal, one_line, say, utf8

LINES_TOGETHER = 2048  # sorted by length and translated together
CHARACTERS_TOGETHER = 500_000  # no line is added to as many; both bound the memory
SECONDS_TOGETHER = 0.2  # from a line of a pipe till it is translated, though more lines come
MOST_TOLD = 20  # lines whose warnings are told one by one


def groups(lines: Iterable[str], most: int, idle: Callable[[], bool] | None = None) -> Iterator[list[str]]:
    """Yield up to `most` lines at a time, fewer where they are long or, by `idle`, the next has to be waited for."""
    group: list[str] = []
    characters, begun = 0, 0.0
    for line in lines:
        begun = begun if group else time.monotonic()
        group.append(line)
        characters += len(line)
        full = len(group) == most or characters >= CHARACTERS_TOGETHER
        if full or (idle and (idle() or time.monotonic() - begun > SECONDS_TOGETHER)):
            yield group
            group, characters = [], 0
    if group:
        yield group


def arguments(texts: Iterable[str], what: str = "sentence") -> Iterator[str]:
    """Yield texts of the command line; `what` they are is named where one is not UTF-8, which is a UserError."""
    for number, text in enumerate(texts, start=1):
        try:
            yield utf8(text)
        except UnicodeError:
            raise UserError(f"{what} {number} is not UTF-8; convert it first") from None


@contextlib.contextmanager
def output(path: str | None) -> Iterator[TextIO]:
    """Open stdout, or a file that appears under its name only when it is complete.

    A device or a named pipe is written to and never replaced, and a link stays a link; errors are a UserError.
    """
    if path is None:
        yield sys.stdout
        return
    if os.path.isdir(path):
        raise UserError(f"cannot write {path}: it is a directory; name a file with --output")
    replaced = os.path.isfile(path) or not os.path.exists(path)
    target = Path(os.path.realpath(path) if replaced else path)
    draft = target.with_name(f".{target.name[:50]}.{os.getpid()}") if replaced else target  # at most 255 bytes
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
    """What the user wants to see."""

    n_best: int = 1  # hypotheses of a sentence, at most the beam size
    scores: bool = False  # write score TAB translation
    as_json: bool = False  # write one JSON object a line
    prefix: str = ""  # how every translation has to begin
    picture: str | None = None  # PNG file for the attention of the one sentence
    heads: bool = False  # draw every layer and head in it
    alignment: bool = False  # mark in it what each token attends to most
    prompt: str = "> "  # what a terminal is asked with


def open_translator(engine: str, runs: Sequence[str] | None, which: str, search: Mapping[str, Any]) -> Translator:
    """Return the translator that --engine, --run, --weights and the search flags name."""
    if not runs or not is_export(runs[0]):
        return Translator.load(runs or DEFAULT_RUN, which, engine, **search)
    if engine == TENSORFLOW or len(runs) > 1 or which != BEST:
        raise UserError(
            f"{runs[0]} is an export for CTranslate2, which holds one set of weights; name it alone, without --engine "
            "and --weights"
        )
    from transformer.convert.ctranslate2 import load_export

    return load_export(runs[0], **search)


def is_export(run: str) -> bool:
    """Return whether a directory is an export of a run."""
    return os.path.exists(os.path.join(run, EXPORT))


def engine_told(translator: Translator, with_heads: bool) -> str:
    """Return which engine translates, and why where that is not the fast one."""
    reason = translator.engines.reason(translator.search, with_heads)
    return f"engine: {translator.engines.choose(translator.search, with_heads).name}" + (reason and f" ({reason})")


def prompt_of(runs: Sequence[str] | None) -> str:
    """Return the prompt: the languages of a run, such as 'pt > en: ', where it knows them."""
    run = (runs or [DEFAULT_RUN])[0]
    if is_export(run):  # it does not say what it translates to
        return "> "
    corpus = RunDirectory(run).corpus()
    languages = [str(corpus.get(side, "")) for side in ("source_language", "target_language")]
    return one_line(f"{' > '.join(languages)}: ") if all(languages) else "> "


def render(source: str, hypotheses: list[Translation], wanted: Wanted, number: int = 0) -> list[str]:
    """Return the output lines of one sentence: one or, of several hypotheses without JSON, one for each.

    Moses and Marian write several so: the sentence's number, counted from 0, the text, named features, the score.
    """
    if wanted.as_json:
        return [json.dumps(described(source, hypotheses), ensure_ascii=False)]
    if wanted.n_best > 1:
        return [
            f"{number} ||| {each.text} ||| log_probability= {each.log_probability:.4f} ||| {each.score:.4f}"
            for each in hypotheses
        ]
    return [f"{hypotheses[0].score:.4f}\t" * wanted.scores + hypotheses[0].text]


def prompted(prompt: str, what: str = "sentence") -> Iterator[str]:
    """Yield the lines typed after a prompt, with the line editing and history of `readline`, until Ctrl-D."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives `input` arrow keys and history
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # as the command line does
    say(f"Type a {what} and press Enter; Ctrl-D ends.")
    with contextlib.suppress(EOFError):
        while True:
            yield from arguments([input(prompt)], what)
    say("")  # the shell's own prompt on a line of its own


def standard_input() -> tuple[Iterator[str], Callable[[], bool] | None]:
    """Return the lines of standard input and, for a pipe, the `idle` of `groups`.

    The lines raise UserError where one is not UTF-8.
    """
    stream: text_files.Stream = sys.stdin.buffer
    idle = None
    with contextlib.suppress(io.UnsupportedOperation):  # something else stands for it
        descriptor = sys.stdin.fileno()
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            stream = LiveInput(descriptor)
            idle = stream.idle

    def lines() -> Iterator[str]:
        try:
            yield from text_files.decoded(stream, "standard input")
        except OSError as error:
            raise UserError(f"cannot read standard input: {error.strerror}; name a file with --input") from None

    return lines(), idle


def _warn_of_arguments(sentences: Sequence[str]) -> None:
    """Say what sentences on the command line may have been meant for."""
    files = list(filter(os.path.isfile, sentences))
    for name in files:
        say(f"warning: {name} is a file; for its lines: --input {name}")
    if len(sentences) > 1 and not files and all(len(sentence.split()) == 1 for sentence in sentences):
        whole = " ".join(sentences)
        say(f'warning: {len(sentences)} sentences of one word each; if they are one sentence, quote it: "{whole}"')


def translate_lines(
    translator: Translator, sentences: list[str], input_path: str | None, output_path: str | None, wanted: Wanted
) -> None:
    """Translate sentences, a file, or standard input, and write what `render` returns for each.

    Lines typed at a terminal are answered one by one; others in groups of `LINES_TOGETHER`, those of a pipe when no
    more are at hand. Of each line all warnings are told together, of not more than `MOST_TOLD` lines. What cannot be
    read or written is a UserError.
    """
    lines: Iterable[str]
    idle = None
    typed = not (sentences or input_path) and sys.stdin.isatty()
    if sentences:
        lines = (sentence.replace("\n", " ") for sentence in arguments(sentences))
        _warn_of_arguments(sentences)
    elif input_path:
        lines = text_files.lines(Path(input_path))
    elif typed and sys.stdout.isatty():
        lines = prompted(wanted.prompt)
    else:
        lines, idle = standard_input()
    done, told, with_attention, in_place = 0, 0, wanted.as_json or bool(wanted.picture), False
    with output(output_path) as file:
        for group in groups(lines, 1 if typed else LINES_TOGETHER, idle):
            prefixes = [wanted.prefix] * len(group)
            results = translator.translate(
                group,
                wanted.n_best,
                with_attention,
                prefixes=prefixes,
                with_heads=wanted.heads,
                with_scores=wanted.scores or wanted.as_json or wanted.n_best > 1,
            )
            for number, (line, hypotheses) in enumerate(zip(group, results, strict=True), start=done + 1):
                warnings = hypotheses[0].warnings
                told += bool(warnings)
                if warnings and (typed or told <= MOST_TOLD):
                    if in_place:  # leave the line of the progress
                        say("")
                    in_place = False
                    say(f"warning: line {number}: {'; '.join(warnings)}")
                for row in render(line, hypotheses, wanted, number - 1):
                    print(for_terminal(row, file), file=file)
            file.flush()
            done += len(group)
            if output_path:
                say(f"{done:,} lines translated", in_place=True)
                in_place = True
            if wanted.picture:
                draw(results[0][0], wanted.picture, wanted.heads, wanted.alignment)
    if output_path:
        say("")
    if told > MOST_TOLD and not typed:
        say(f"warning: {told - MOST_TOLD:,} more lines have warnings; with --json each line holds its own")


def draw(translation: Translation, picture: str, heads: bool, alignment: bool) -> None:
    """Draw an attention map into a PNG file; a UserError tells that the translation has none."""
    from transformer.plots import attention_map

    if translation.attention is None:
        raise UserError("an empty text, or one that is longer than the model reads, has no attention map")
    attention_map(translation, picture, heads, alignment)
