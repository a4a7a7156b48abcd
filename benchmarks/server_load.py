r"""Put load on a translation server and check every answer.

    python benchmarks/server_load.py RUN [--input F] [--requests N] [--clients N] [--rounds N] [--minutes M]
                                      [--attackers N] [--engine E]

Starts `transformer serve` on a free port of 127.0.0.1 and stops it at the end. Prints JSON lines:

load: N requests of many clients at a time. One in five is bad, in one of nine ways. Every translation is compared with
    the offline one of the same sentence; a different one counts as a near tie where its score is as good, which the
    rounding of another batch explains, and as wrong otherwise. A request without the answer it should have is lost.
    Latencies are those of good requests, in milliseconds.
throughput: 8 sentences a request, beam 4; sentences per second, beside those of the offline translator on the same
    sentences; medians of interleaved rounds.

attack: one line for each attack of `server_attacks`; the longest silence of /health meanwhile, in milliseconds.
end: seconds that the server took to stop while slow bodies were arriving.

Exit code 1 where an answer was wrong or lost, /health was silent for more than a second during an attack, or the
server did not stop cleanly and soon.
"""

from __future__ import annotations

import collections
import http.client
import itertools
import json
import queue
import random
import statistics
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from server_attacks import MOST_SILENCE_MS, attacks, slow_bodies
from server_process import MOST_SECONDS_TO_STOP, PATIENCE, ServerProcess

from transformer.commands.parser import Parser
from transformer.config.settings import AUTO, ENGINES
from transformer.serving.config import ServeConfig
from transformer.system.errors import UserError
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

LIMITS = ServeConfig()
JSON = {"Content-Type": "application/json"}
BEAM, TOGETHER = 4, 8  # of the throughput: beam size, sentences a request


class Ask(NamedTuple):
    """A request: its body, headers, sentences, and the status that it should have."""

    body: bytes
    headers: Mapping[str, str]
    sentences: Sequence[str]
    status: int = 200


class Reply(NamedTuple):
    """What came back: None for the status where nothing did."""

    ask: Ask
    status: int | None
    body: bytes
    seconds: float
    busy: int  # times it was told to come back before


def translation(sentences: Sequence[str], **options: object) -> Ask:
    """Return a good request."""
    return Ask(json.dumps({"sentences": sentences, **options}).encode(), JSON, sentences)


def bad_requests(sentence: str) -> list[Ask]:
    """Return one request of each bad kind."""
    bodies = [
        (b'{"sentences": ["cut', 400),
        (b'{"sentences": "\xff"}', 400),
        (b'{"sentences": "\\udc80"}', 422),
        (json.dumps({"sentences": sentence + "\0"}).encode(), 422),
        (json.dumps({"sentences": sentence, "beams": 3}).encode(), 422),
        (json.dumps({"sentences": [sentence] * (LIMITS.max_sentences + 1)}).encode(), 422),
        (json.dumps({"sentences": "x" * (LIMITS.max_characters + 1)}).encode(), 422),
        (b" " * (LIMITS.max_body + 1), 413),
    ]
    return [
        *(Ask(body, JSON, [], status) for body, status in bodies),
        Ask(b"{}", {"Content-Type": "text/plain"}, [], 415),
    ]


def mixed_requests(sentences: Sequence[str], count: int, seed: int) -> Iterator[Ask]:
    """Yield good requests of one to three sentences and bad ones."""
    chance, bad = random.Random(seed), bad_requests(sentences[0])
    for _ in range(count):
        if chance.random() < 0.2:
            yield chance.choice(bad)
        else:
            yield translation([chance.choice(sentences) for _ in range(chance.randint(1, 3))])


def send(connection: http.client.HTTPConnection, ask: Ask) -> Reply:
    """Send a request until the server is not too busy for it."""
    begun = time.perf_counter()
    for busy in itertools.count():
        try:
            connection.request("POST", "/translate", ask.body, ask.headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return Reply(ask, None, b"", time.perf_counter() - begun, busy)
        if answer.status != 503 or time.perf_counter() - begun > PATIENCE:
            return Reply(ask, answer.status, body, time.perf_counter() - begun, busy)
        time.sleep(int(answer.headers["Retry-After"]))


def send_all(port: int, asks: Iterator[Ask], clients: int, seconds: float) -> tuple[list[Reply], float]:
    """Send requests from so many clients, each one at a time; returns the replies and how long it took.

    After `seconds` no more are begun.
    """
    todo: queue.SimpleQueue[Ask] = queue.SimpleQueue()
    for ask in asks:
        todo.put(ask)
    replies: list[Reply] = []
    begun = time.perf_counter()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        while time.perf_counter() - begun < seconds:
            try:
                replies.append(send(connection, todo.get_nowait()))
            except queue.Empty:
                break
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies, time.perf_counter() - begun


def judge(reply: Reply, offline: Mapping[str, tuple[str, float]], near_tie: float) -> str:
    """Return what a reply is: 'right', 'near tie', 'wrong' or 'lost'."""
    if reply.status != reply.ask.status:
        return "lost"
    if reply.status != 200:
        return "right" if isinstance(json.loads(reply.body)["error"], str) else "wrong"
    entries = json.loads(reply.body)["translations"]
    if [entry["source"] for entry in entries] != list(reply.ask.sentences):
        return "wrong"
    verdict = "right"
    for entry in entries:
        text, score = offline[entry["source"]]
        best = entry["hypotheses"][0]
        if abs(best["score"] - score) > near_tie:
            return "wrong"
        verdict = verdict if best["text"] == text else "near tie"
    return verdict


def load(port: int, sentences: Sequence[str], offline: Mapping, near_tie: float, args: Namespace) -> dict[str, object]:
    """Return what the mixed requests came to."""
    asks = mixed_requests(sentences, args.requests, args.seed)
    replies, seconds = send_all(port, asks, args.clients, 60 * args.minutes)
    verdicts = collections.Counter(judge(reply, offline, near_tie) for reply in replies)
    good = [1000 * reply.seconds for reply in replies if reply.status == 200]
    if len(good) < 2:
        raise UserError(f"{len(good)} of {len(replies)} requests were translated; raise --requests or --minutes")
    times = statistics.quantiles(good, n=100)
    return {
        "part": "load",
        "clients": args.clients,
        "requests": len(replies),
        "statuses": dict(sorted(collections.Counter(str(reply.status) for reply in replies).items())),
        **{verdict.replace(" ", "_"): verdicts[verdict] for verdict in ("right", "near tie", "wrong", "lost")},
        "told_to_come_back": sum(reply.busy for reply in replies),
        "p50_ms": round(times[49], 1),
        "p99_ms": round(times[98], 1),
        "requests_per_s": round(len(replies) / seconds, 1),
        "seconds": round(seconds, 1),
    }


def throughput(port: int, sentences: Sequence[str], offline: Mapping, near_tie: float, translator, args: Namespace):
    """Return the sentences per second of server and offline translator, and what the replies came to."""
    groups = [sentences[start : start + TOGETHER] for start in range(0, len(sentences), TOGETHER)]
    served, alone, verdicts = [], [], collections.Counter()
    for _ in range(args.rounds):
        begun = time.perf_counter()
        translator.translate(sentences)
        alone.append(time.perf_counter() - begun)
        replies, seconds = send_all(port, map(translation, groups), args.clients, 60 * args.minutes)
        served.append(seconds)
        verdicts.update(judge(reply, offline, near_tie) for reply in replies)
        verdicts["lost"] += len(groups) - len(replies)
    rates = [len(sentences) / statistics.median(seconds) for seconds in (served, alone)]
    return {
        "part": "throughput",
        "clients": args.clients,
        "sentences": len(sentences),
        "sentences_a_request": TOGETHER,
        "beam_size": BEAM,
        "rounds": args.rounds,
        "server_sentences_per_s": round(rates[0], 1),
        "offline_sentences_per_s": round(rates[1], 1),
        "share": round(rates[0] / rates[1], 3),
        **{verdict: verdicts[verdict] for verdict in ("wrong", "lost")},
    }


def measure(args: Namespace) -> None:
    """Print the lines."""
    import_tensorflow()
    from transformer.checkpoints.run_directory import RunDirectory
    from transformer.commands.selfcheck import NEAR_TIE
    from transformer.data.examples import text_files
    from transformer.data.examples.pairs import open_corpus
    from transformer.inference.translator import Translator
    from transformer.system.threads import share_cores

    share_cores()
    translator = Translator.load(args.run, engine=args.engine, beam_size=BEAM)
    if args.input:
        lines = text_files.lines(Path(args.input))
    else:
        corpus = open_corpus(RunDirectory(args.run).config())
        if "test" not in corpus.splits:
            raise UserError(f"{args.run} has no test split; name a file of sentences with --input")
        lines = (source for source, _ in corpus.pairs("test"))
    unique = dict.fromkeys(line for line in lines if 0 < len(line.strip()) <= LIMITS.max_characters)
    sentences = list(itertools.islice(unique, args.sentences))
    if not sentences:
        raise UserError("there are no sentences to send; name a file of them with --input")
    best = [found[0] for found in translator.translate(sentences)]
    offline = {sentence: (found.text, found.score) for sentence, found in zip(sentences, best, strict=True)}
    rows = []

    def tell(row: dict[str, object]) -> None:
        rows.append(row)
        print(json.dumps(row), flush=True)

    with ServerProcess(args.run, BEAM, args.engine) as server:
        tell(load(server.port, sentences, offline, NEAR_TIE, args))
        tell(throughput(server.port, sentences, offline, NEAR_TIE, translator, args))
        for row in attacks(server.port, sentences[0], args.attackers):
            tell(row)
        still_open = slow_bodies(server.port, args.attackers)
    tell({"part": "end", "slow_bodies": len(still_open), "seconds": round(server.seconds_to_stop, 1)})
    wrong = sum(row.get("wrong", 0) + row.get("lost", 0) for row in rows)
    silence = max(row.get("longest_silence_ms", 0) for row in rows)
    faults = [f"{wrong} answers were wrong or lost"] * (wrong > 0)
    faults += [f"/health was silent for {silence} ms"] * (silence > MOST_SILENCE_MS)
    faults += [f"the server ended with exit code {server.code}"] * (server.code != 0)
    faults += ["the server took long to stop"] * (server.seconds_to_stop > MOST_SECONDS_TO_STOP)
    if faults:
        raise UserError("; ".join(faults))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="server_load.py", description=__doc__.splitlines()[0])
    p.add_argument("run", metavar="RUN")
    p.add_argument("--engine", choices=ENGINES, default=AUTO, help="what translates (default: %(default)s)")
    p.add_argument("--input", metavar="F", help="text file of sentences (default: the test split of the run's corpus)")
    p.add_argument("--sentences", type=int, default=1000, metavar="N", help="of them at most (default: %(default)s)")
    p.add_argument("--requests", type=int, default=10_000, metavar="N", help="of the load (default: %(default)s)")
    p.add_argument("--clients", type=int, default=100, metavar="N", help="at one time (default: %(default)s)")
    p.add_argument("--rounds", type=int, default=3, metavar="N", help="of the throughput (default: %(default)s)")
    p.add_argument(
        "--minutes", type=float, default=30, metavar="M", help="longest time of a part (default: %(default)s)"
    )
    p.add_argument("--attackers", type=int, default=40, metavar="N", help="at one time (default: %(default)s)")
    p.add_argument("--seed", type=int, default=1, metavar="N", help="of the choice of requests (default: %(default)s)")
    args = p.parse_args(argv)
    for name in ("sentences", "requests", "clients", "rounds", "minutes", "attackers"):
        if getattr(args, name) <= 0:
            p.error(f"--{name} must be above 0, got {getattr(args, name)}")
    return exit_code(lambda: measure(args))


if __name__ == "__main__":
    sys.exit(main())
