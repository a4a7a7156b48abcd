"""Fonts for text in any script: what a picture writes must never turn into boxes."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from transformer.plots.style import need_matplotlib, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REGULAR = range(300, 501)  # weights of fonts that look like plain text
BOXES = "Last Resort"  # matplotlib's font that has a box for every character


class TextRenderer(NamedTuple):
    """How to write some text."""

    families: list[str]  # of fonts, each for the characters that those before it lack
    missing: frozenset[str]  # characters that no installed font has

    def show(self, text: str) -> str:
        """Return the text as it is to be drawn, with the number of each missing character, such as `\\u8f66`."""
        return "".join(
            character.encode("ascii", "backslashreplace").decode() if character in self.missing else character
            for character in plain(text)
        )

    def name_ticks(self, set_ticks: Callable, names: Sequence[str], **style: Any) -> None:
        """Write names at the ticks 0, 1, ... of an axis; `set_ticks` is its method."""
        set_ticks(range(len(names)), [self.show(name) for name in names], fontfamily=self.families, **style)

    def note(self, figure: Figure) -> None:
        """Say below a figure what is missing, if anything is."""
        if self.missing:
            figure.supxlabel(
                f"No installed font has {len(self.missing)} of these characters: they are shown by number. "
                "A font such as Noto Sans CJK has them.",
                fontsize="small",
            )


def text_renderer(texts: Iterable[str]) -> TextRenderer:
    """Choose fonts for texts: matplotlib's own, and as few others of this machine as have what it lacks."""
    need_matplotlib()
    from matplotlib.font_manager import FontProperties, fontManager

    own = FontProperties()
    families = [own.get_name()]
    wanted = {character for text in texts for character in text if character.isprintable()}
    missing = wanted - _characters(fontManager.findfont(own))
    for fonts in (_plain_fonts, _new_fonts):
        while missing and (offered := fonts()):
            best = max(offered, key=lambda font: len(missing & _characters(font.fname)))
            if not missing & _characters(best.fname):
                break
            families.append(best.name)
            missing -= _characters(best.fname)
    return TextRenderer(families, frozenset(missing))


def _plain_fonts() -> list:
    """Return the fonts that matplotlib knows and that look like plain text."""
    from matplotlib.font_manager import fontManager, weight_dict

    return [
        font
        for font in fontManager.ttflist
        if font.style == font.variant == "normal"
        and (weight_dict[font.weight] if isinstance(font.weight, str) else font.weight) in REGULAR
        and not font.name.startswith(BOXES)
    ]


def _new_fonts() -> list:
    """Return them again, with those that were installed since matplotlib last looked."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = {font.fname for font in fontManager.ttflist}
    for path in sorted(set(findSystemFonts()) - known):
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # a font that matplotlib cannot read
            fontManager.addfont(path)
    return _plain_fonts()


@functools.cache
def _characters(path: str) -> frozenset[str]:
    """Return what a font file can write; nothing where it cannot be read, as bitmap fonts."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()
