"""Serve a run over HTTP: `transformer serve RUN`. Needs the extra `[serve]`."""

import dataclasses
import gc

from transformer.commands.parser import Parser
from transformer.commands.task_flag import add_task_flag, load_own_task
from transformer.config.run import Config
from transformer.config.settings import AUTO, ENGINES
from transformer.serving.config import ANY_HOST, ServeConfig, allowed_host
from transformer.system.errors import UserError
from transformer.system.interrupts import starting
from transformer.system.messages import called, say
from transformer.system.process import exit_code
from transformer.system.tensorflow import for_decoding_alone

FLAGS = {  # fields of `ServeConfig`: letter, help
    "host": ("ADDRESS", "address to listen at"),
    "port": ("N", "port to listen at; 0: any free one"),
    "max_sentences": ("N", "sentences or prompts in a request"),
    "max_characters": ("N", "characters of each"),
    "max_tokens": ("N", "tokens of a text that follows a prompt"),
    "max_body": ("BYTES", "length of a request"),
    "max_beam": ("N", "largest beam size, and so the most hypotheses, that a request may ask for"),
    "max_attention": ("N", "attention weights in an answer"),
    "max_requests": ("N", "requests that are answered at one time; more are told to come back (503)"),
    "max_arriving": ("N", "more requests that are still coming; beyond them the slowest is given up (408)"),
    "max_chunks": ("N", "pieces of a body that is sent in pieces (Transfer-Encoding: chunked)"),
    "max_waiting": ("N", "sentences or prompts that may wait; more are told to come back (503)"),
    "max_together": ("N", "sentences or prompts of several requests that are answered together"),
    "timeout": ("SECONDS", "longest time from a request to its answer"),
    "arrival_timeout": ("SECONDS", "longest time for a request to arrive"),
}

WARNING_OF_ANY_HOST = (
    "--allow-host '*' answers under every host name, so that any web page which a user of this server visits can ask "
    "it and read the answers (DNS rebinding); where the names are known, give them instead"
)


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog=called("serve"),
        description="Serve a translator (POST /translate), a language model (POST /generate), what predicts "
        "(POST /predict) or what makes vectors (POST /embed), with a page at /, the documentation at /docs, and GET "
        "/health. It answers this machine alone unless --host says otherwise; there is neither encryption nor a "
        "password.",
    )
    p.add_argument("runs", nargs="+", metavar="RUN", help="run directory; several, of one vocabulary, work together")
    add_task_flag(p)
    p.add_argument("--weights", choices=("best", "last"), default="best", help="which weights (default: %(default)s)")
    p.add_argument(
        "--engine",
        choices=ENGINES,
        default=AUTO,
        help="what translates, as of the command translate (default: %(default)s)",
    )
    p.add_argument(
        "--embed",
        action="store_true",
        help="of a masked language model: serve vectors of texts (POST /embed) instead of masked tokens",
    )
    p.add_argument("--beam-size", type=int, metavar="N", help="of requests that name none (default: the run's)")
    p.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="answer also to this name in the Host header, such as that of a proxy; may be repeated; '*' for any name, "
        "which lets any web page that a user of this server visits ask it and read the answers (DNS rebinding)",
    )
    p.add_argument("--access-log", action="store_true", help="write a line for each request to stderr, without texts")
    for entry in dataclasses.fields(ServeConfig):
        letter, text = FLAGS[entry.name]
        p.add_argument(
            "--" + entry.name.replace("_", "-"),
            type=type(entry.default),
            default=entry.default,
            metavar=letter,
            help=f"{text} (default: %(default)s)",
        )
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = parser()
    args = p.parse_args(argv)
    search = {} if args.beam_size is None else {"beam_size": args.beam_size}
    try:
        limits = ServeConfig(**{name: getattr(args, name) for name in FLAGS})
        hosts = [allowed_host(name) for name in args.allow_host]
        Config().override({"search": search}, "command line")
    except (ValueError, UserError) as error:
        p.error(str(error))

    def job() -> None:
        try:
            with starting():
                from transformer.serving.server import listen, serve
        except ImportError as error:
            how = "pip install 'transformer-reference[serve]'"
            raise UserError(f"serving needs {error.name}; install it with: {how}") from None
        if ANY_HOST in hosts:
            say(f"warning: {WARNING_OF_ANY_HOST}")
        with listen(limits.host, limits.port) as listener:
            with starting():
                for_decoding_alone()
                load_own_task(args.task)

                from transformer.serving.app import make_app
                from transformer.serving.batcher import Batcher
                from transformer.serving.services import open_service

            answer, offer = open_service(args.runs, args.weights, search, limits, args.engine, args.embed)
            batcher = Batcher(answer, limits.max_waiting, limits.max_together, limits.timeout)
            app = make_app(batcher, offer, limits, hosts)
            gc.collect()
            gc.freeze()  # of what stays for good: later collections need not look at it, and are short
            serve(app, batcher, limits, listener, args.access_log)
        say("stopped")

    return exit_code(job)
