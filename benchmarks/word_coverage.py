"""How many of the most frequent words the everyday sentences of the phrasebook have, for each language.

    pip install -e ".[bench]"
    python benchmarks/word_coverage.py [--words 2500] [--missing]

The frequencies are those of the package wordfreq: subtitles, but also encyclopedias, news, books and the web. Words are
runs of letters, compared without case; numbers and the signs of other scripts do not count. In Chinese, where nothing
marks words, one counts where its characters stand next to one another. Prints a JSON line for each language;
--missing adds the words that no sentence has.
"""

import json
import re

from transformer.commands.parser import Parser
from transformer.data.phrasebook import LANGUAGES
from transformer.data.phrasebook.everyday import read_everyday
from transformer.system.errors import UserError
from transformer.system.process import exit_code

WORD = re.compile(r"[^\W\d_]+(?:[-'][^\W\d_]+)*")
HAN = re.compile(r"[\u4e00-\u9fff]+")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="word_coverage.py", description=__doc__.splitlines()[0])
    p.add_argument("--words", type=int, default=2500, metavar="N", help="(default: %(default)s)")
    p.add_argument("--missing", action="store_true", help="also print the words that are missing")
    args = p.parse_args(argv)
    if not 0 < args.words <= 20_000:
        p.error(f"--words must be from 1 to 20,000, got {args.words}")
    return exit_code(lambda: count(args.words, args.missing))


def count(most: int, missing: bool) -> None:
    """Print the JSON lines."""
    try:
        from wordfreq import top_n_list
    except ImportError:
        raise UserError('the frequencies need wordfreq; install it with: pip install -e ".[bench]"') from None
    sentences = read_everyday()
    for language in LANGUAGES:
        texts = [getattr(sentence, language).lower() for sentence in sentences]
        together = "\n".join(texts)
        found = set(WORD.findall(together))
        kind = HAN if language == "zh" else WORD
        frequent = [word for word in top_n_list(language, 3 * most) if kind.fullmatch(word)][:most]
        absent = [word for word in frequent if (word not in together if language == "zh" else word not in found)]
        share = round(1 - len(absent) / len(frequent), 4)
        row = {"language": language, "sentences": len(texts), "words": len(frequent), "found": share}
        print(json.dumps({**row, **({"missing": absent} if missing else {})}, ensure_ascii=False))


if __name__ == "__main__":
    raise SystemExit(main())
