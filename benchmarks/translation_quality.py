r"""Score a trained run on held-out sentences: the command behind every quality figure of the README.

    python benchmarks/translation_quality.py runs/phrasebook_pt_to_en --split test
    python benchmarks/translation_quality.py runs/multi30k_en_de --source DIR/test_2016_flickr.en \
        --target DIR/test_2016_flickr.de

Prints one JSON line: cased sacreBLEU, chrF and lower-cased tokenised BLEU of the same output, each with its signature
where sacreBLEU gives one, the search used, the seconds it took, and the versions.
"""

import json
import sys
import time
from argparse import Namespace
from importlib.metadata import version
from pathlib import Path

from transformer.commands.parser import Parser
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="translation_quality.py", description=__doc__.splitlines()[0])
    p.add_argument("run", metavar="RUN")
    p.add_argument("--split", default="test", help="split of the run's own corpus (default: %(default)s)")
    p.add_argument("--source", metavar="F", help="score this file instead of a split")
    p.add_argument("--target", metavar="F", help="its reference translations")
    p.add_argument("--beam-size", type=int, metavar="N")
    p.add_argument("--length-penalty", type=float, metavar="A")
    p.add_argument("--cut", metavar="WHAT", help="'sentences' or 'long', as translate.py has it")
    p.add_argument("--output", metavar="F", help="also write the translations here")
    args = p.parse_args(argv)
    return exit_code(lambda: score(args))


def score(args: Namespace) -> None:
    """Translate, score, and print the line."""
    import_tensorflow()
    from transformer.checkpoints.run_directory import RunDirectory
    from transformer.data.examples import text_files
    from transformer.data.examples.pairs import open_corpus
    from transformer.inference.translator import Translator
    from transformer.metrics.text import bleu, chrf, lowercase_tokenise, tokenised_bleu
    from transformer.system.threads import share_cores

    share_cores()
    names = ("beam_size", "length_penalty", "cut")
    search = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    config = RunDirectory(args.run).config()
    language = RunDirectory(args.run).corpus()["target_language"]
    if args.source and args.target:
        sources, references = list(text_files.lines(Path(args.source))), list(text_files.lines(Path(args.target)))
    else:
        sources, references = (list(side) for side in zip(*open_corpus(config).pairs(args.split), strict=True))
    translator = Translator.load(args.run, **search)
    start = time.monotonic()
    hypotheses = [best[0].text for best in translator.translate(sources)]
    seconds = time.monotonic() - start
    if args.output:
        Path(args.output).write_text("".join(f"{line}\n" for line in hypotheses), encoding="utf-8")
    cased, characters = bleu(hypotheses, references, language), chrf(hypotheses, references)
    row = {
        "run": args.run,
        "data": Path(args.source).name if args.source else f"{config.data.dataset} {args.split}",
        "sentences": len(sources),
        "beam_size": translator.search.beam_size,
        "length_penalty": translator.search.length_penalty,
        "cut": translator.search.cut,
        "bleu": round(cased.score, 2),
        "bleu_signature": cased.signature,
        "chrf": round(characters.score, 2),
        "chrf_signature": characters.signature,
    }
    if not language.startswith(("zh", "ja", "ko")):
        tokenised = tokenised_bleu(hypotheses, lowercase_tokenise(references, language), language)
        row |= {"lowercase_tokenised_bleu": round(tokenised.score, 2), "tokenised_signature": tokenised.signature}
    row |= {"seconds": round(seconds, 1), "seed": config.training.seed}
    row |= {name: version(name) for name in ("tensorflow", "keras", "sacrebleu")}
    print(json.dumps(row))


if __name__ == "__main__":
    sys.exit(main())
