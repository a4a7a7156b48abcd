"""What `transformer generate` does with a generator: prompts in, texts out."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TextIO

from transformer.commands.translate_lines import arguments, groups, output, prompted, standard_input
from transformer.data.examples import text_files
from transformer.inference.generated_text import described
from transformer.inference.generator import TOGETHER, Generator
from transformer.system.messages import for_terminal, say


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What the user wants to see."""

    samples: int = 1  # texts of a prompt
    stop: tuple[str, ...] = ()  # strings that end a text
    as_json: bool = False  # write one JSON object a prompt
    stream: bool = False  # write text as it comes
    separator: str = "---"  # line between two texts


class Writer:
    """Writes texts to a file: on a terminal, control characters but line ends become escapes.

    Args:
        file: open for writing.
        separator: line between two texts.
    """

    def __init__(self, file: TextIO, separator: str) -> None:
        self.file, self._separator, self._begun = file, separator, False

    def begin(self, text: str) -> None:
        """Write the beginning of a text."""
        if self._begun:
            self.go_on(f"{self._separator}\n")
        self._begun = True
        self.go_on(text)

    def go_on(self, text: str) -> None:
        """Write more of it."""
        self.file.write("\n".join(for_terminal(line, self.file) for line in text.split("\n")))

    def piece(self, text: str) -> None:
        """Write more of it, so that it is seen at once."""
        self.go_on(text)
        self.file.flush()

    def end(self) -> None:
        """End the text."""
        self.piece("\n")


def generate_texts(
    generator: Generator, prompts: Sequence[str], input_path: str | None, output_path: str | None, wanted: Wanted
) -> None:
    """Continue prompts, the lines of a file, or those of standard input, and write what follows.

    Prompts typed at a terminal are answered one by one, as the text comes; others together, those of a pipe when no
    more are at hand. What cannot be read or written is a UserError.
    """
    typed = not (prompts or input_path) and sys.stdin.isatty()
    if typed and not wanted.as_json:
        wanted = dataclasses.replace(wanted, stream=True)
    lines, idle = _source(prompts, input_path, typed)
    done = 0
    with output(output_path) as file:
        writer = Writer(file, wanted.separator)
        for group in groups(lines, 1 if typed or wanted.stream else TOGETHER, idle):
            for number, prompt in enumerate(group, start=done + 1):
                if warnings := generator.warnings(prompt):
                    say(f"warning: prompt {number}: {'; '.join(warnings)}")
            if wanted.stream:
                _stream(generator, group[0], wanted, writer)
            else:
                _write(generator, group, wanted, writer)
            file.flush()
            done += len(group)
            if output_path:
                say(f"{done:,} prompts continued", in_place=True)
    if output_path:
        say("")


def _source(
    prompts: Sequence[str], input_path: str | None, typed: bool
) -> tuple[Iterable[str], Callable[[], bool] | None]:
    """Return the prompts, and the `idle` of `groups`."""
    if prompts:
        return arguments(prompts, "prompt"), None
    if input_path:
        return text_files.lines(Path(input_path)), None
    if typed and sys.stdout.isatty():
        return prompted("> ", "prompt"), None
    return standard_input()


def _write(generator: Generator, prompts: Sequence[str], wanted: Wanted, writer: Writer) -> None:
    """Write the texts of prompts when they are complete."""
    for prompt, found in zip(prompts, generator.generate(prompts, wanted.samples, wanted.stop), strict=True):
        if wanted.as_json:
            line = json.dumps(described(prompt, found, generator.warnings(prompt)), ensure_ascii=False)
            print(for_terminal(line, writer.file), file=writer.file)
            continue
        for each in found:
            writer.begin(prompt + each.text)
            writer.end()


def _stream(generator: Generator, prompt: str, wanted: Wanted, writer: Writer) -> None:
    """Write the first text of a prompt as it comes, and the others behind it."""

    def tell(_: int, sample: int, piece: str) -> None:
        if sample == 0:
            writer.piece(piece)

    writer.begin(prompt)
    writer.piece("")
    found = generator.generate([prompt], wanted.samples, wanted.stop, tell)[0]
    writer.end()
    for each in found[1:]:
        writer.begin(prompt + each.text)
        writer.end()
