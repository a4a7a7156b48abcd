"""The flags of every command that searches for translations or texts."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from transformer.commands.parser import Parser
from transformer.config.run import Config
from transformer.system.errors import UserError

SEARCH = (  # fields of `SearchConfig` that have a flag: type, letter, help
    ("beam_size", int, "N", "hypotheses kept, or samples; 1 is greedy (default: the run's)"),
    ("length_penalty", float, "A", "exponent of the length penalty; 0: none"),
    ("penalty", str, "FORM", "'length': length^A, 'gnmt': ((5 + length) / 6)^A"),
    ("coverage_penalty", float, "B", "weight of the coverage penalty; 0: none"),
    ("finished", str, "HOW", "finished hypotheses 'leave' the beam or 'compete' for places in it"),
    ("min_length", int, "N", "shortest output in tokens"),
    ("min_length_ratio", float, "R", "shortest output, as a multiple of the source length"),
    ("max_length", int, "N", "longest output in tokens"),
    ("max_length_ratio", float, "R", "longest output, as a multiple of the source length"),
    ("no_repeat_ngram", int, "N", "let no n-gram of N tokens occur twice"),
    ("temperature", float, "T", "above 0: sample tokens at this temperature instead of searching"),
    ("top_k", int, "K", "sample from the K likeliest tokens"),
    ("top_p", float, "P", "sample from the likeliest tokens with this probability together"),
    ("min_p", float, "P", "sample from the tokens at least P times as likely as the likeliest"),
    ("typical_p", float, "P", "sample from the most typical tokens with this probability together"),
    ("seed", int, "N", "of sampling"),
    ("cut", str, "WHAT", "translate 'sentences' one by one, or cut 'long' texts alone, which the model cannot read"),
)
_NOT_OF_TEXTS = ("coverage_penalty", "min_length_ratio", "max_length", "max_length_ratio", "cut")
TEXT_SEARCH = (  # the same for `generate`
    ("max_length", int, "N", "most tokens that follow a prompt (default: 256)"),
    *(flag for flag in SEARCH if flag[0] not in _NOT_OF_TEXTS),
    ("repetition_penalty", float, "R", "above 1: tokens that were there before are less likely"),
)
Flags = Sequence[tuple[str, type, str, str]]


def add_search_flags(parser: Parser, flags: Flags = SEARCH, names: Mapping[str, str] | None = None) -> None:
    """Add a flag for each setting of `SEARCH`, or of others; `names` are those of flags that are called otherwise."""
    group = parser.add_argument_group("search")
    for name, kind, letter, text in flags:
        flag = (names or {}).get(name, "--" + name.replace("_", "-"))
        group.add_argument(flag, dest=name, type=kind, metavar=letter, help=text)


def given_search(parser: Parser, args: argparse.Namespace, flags: Flags = SEARCH) -> dict[str, Any]:
    """Return the settings of `SEARCH`, or others, that were given; one that is out of range is wrong usage."""
    search = {name: getattr(args, name) for name, *_ in flags if getattr(args, name) is not None}
    try:
        Config().override({"search": search}, "command line")
    except UserError as error:
        parser.error(str(error))
    return search
