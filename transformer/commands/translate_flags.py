"""Which flags of `translate.py` go together, and what they need."""

import argparse
from typing import Any

from transformer.commands.parser import Parser
from transformer.commands.search_flags import given_search
from transformer.system.messages import utf8


def check_usage(p: Parser, args: argparse.Namespace) -> dict[str, Any]:
    """Return the search settings that were given; leave the process where flags exclude or need each other."""
    if args.sentences and args.input:
        p.error("give sentences or --input, not both")
    if args.attention and len(args.sentences) != 1:
        p.error("--attention draws one sentence; give it as an argument")
    for flag in ("attention_heads", "attention_alignment"):
        if getattr(args, flag) and not args.attention:
            p.error(f"--{flag.replace('_', '-')} needs --attention PNG")
    try:
        args.prefix = utf8(args.prefix)
    except UnicodeError:
        p.error("--prefix is not UTF-8; convert it first")
    if args.engine == "ctranslate2":
        _check_for_ctranslate2(p, args)
    return given_search(p, args)


def check_extras(args: argparse.Namespace) -> None:
    """Ask for what is not installed before any work is done.

    Raises:
        UserError: an attention map is wanted, and matplotlib is missing.
    """
    if args.attention:
        from transformer.plots.style import need_matplotlib

        need_matplotlib()


def _check_for_ctranslate2(p: Parser, args: argparse.Namespace) -> None:
    if len(args.run or ()) != 1:
        p.error("--engine ctranslate2 translates with one export; name it with --run EXPORT")
    if args.weights != "best":
        p.error("--weights does not go with --engine ctranslate2: an export holds one set of weights")
    if args.attention_heads:
        p.error("--attention-heads does not go with --engine ctranslate2, which returns the mean over the heads alone")
    if args.finished == "compete":
        p.error("--finished compete does not go with --engine ctranslate2, whose finished hypotheses stand aside")
