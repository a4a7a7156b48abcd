"""Pictures. Needs the extra `[plots]`.

python -m transformer.plots runs/phrasebook_pt_to_en "Onde fica a estação?" attention.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from transformer.command_line import Parser, exit_code, import_tensorflow
from transformer.config import UserError


def attention_map(translation, path: str | Path) -> None:
    """Draw the attention of each produced token (rows) over the source tokens (columns) into a PNG file.

    Args:
        translation: a `Translation` made with `with_attention=True`.
        path: of the PNG file.

    Raises:
        UserError: matplotlib is not installed, or the file cannot be written.
        ValueError: the translation has no attention weights.
    """
    if translation.attention is None:
        raise ValueError("translation must be made with with_attention=True, got one without attention weights")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("pictures need matplotlib; install it with: pip install -e '.[plots]'") from None
    rows = [*translation.tokens, "[end]"][: len(translation.attention)]
    columns = translation.source_tokens
    figure = Figure(figsize=(1.2 + 0.55 * len(columns), 1.2 + 0.45 * len(rows)), layout="constrained", dpi=150)
    axes = figure.subplots()
    image = axes.imshow(translation.attention, cmap="cividis", vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(rows)), rows)
    figure.colorbar(image, ax=axes, label="attention weight")
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def main(argv: list[str] | None = None) -> int:
    """Translate one sentence and draw its attention map; returns the exit code."""
    p = Parser(prog="python -m transformer.plots", description="Draw the attention map of a sentence.")
    p.add_argument("run", metavar="RUN")
    p.add_argument("sentence", metavar="SENTENCE")
    p.add_argument("output", metavar="PNG")
    args = p.parse_args(argv)

    def job() -> None:
        import_tensorflow()
        from transformer.inference.translator import Translator

        best = Translator.load(args.run).translate([args.sentence], with_attention=True)[0][0]
        if best.attention is None:
            raise UserError("an empty sentence has no attention map; give a sentence")
        attention_map(best, args.output)
        print(best.text)

    return exit_code(job)


if __name__ == "__main__":
    sys.exit(main())
