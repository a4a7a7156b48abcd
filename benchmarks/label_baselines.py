r"""Score what needs no network on the data of a config: the command behind the baselines beside its figures.

    python benchmarks/label_baselines.py configs/sst2.toml --data DIR
    python benchmarks/label_baselines.py configs/uner_en_ewt.toml --data DIR
    python benchmarks/label_baselines.py configs/xquad_en.toml --data DIR

Prints a JSON line for each baseline: what it learned from (the training examples and those that a network would be
chosen on), and its scores on the test split, by the metrics of the task.

    classification      the most frequent label, and logistic regression on words and pairs of words (TF-IDF)
    tagging             of each word its most frequent tag, O of a word that was never seen
    question-answering  of the sentence that shares most with the question, the words nearest to those that are shared
"""

import collections
import json
import math
import re
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence

from transformer.commands.parser import Parser
from transformer.config.presets import read_config
from transformer.data.tag_schemes import EDGE, OUTSIDE, follows
from transformer.data.words import words_of
from transformer.metrics import labels as metrics
from transformer.system.errors import UserError
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

LONGEST_ANSWER = 4  # words
SENTENCE = re.compile(r"[^.!?]+(?:[.!?](?!\s)[^.!?]*)*[.!?]*")
FREQUENT = 0.1  # share of texts from which on a word says nothing


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="label_baselines.py", description=__doc__.splitlines()[0])
    p.add_argument("config", metavar="CONFIG", help="a TOML file of classification, tagging or question-answering")
    p.add_argument("--data", metavar="DIR", help="folder of the files that it names (default: its own)")
    args = p.parse_args(argv)
    return exit_code(lambda: compare(args))


def compare(args: Namespace) -> None:
    """Print the JSON lines."""
    config = read_config(args.config, args.data)
    baselines = BASELINES.get(config.task.name)
    if baselines is None:
        raise UserError(f"{args.config} is of the task {config.task.name}; the baselines are of {', '.join(BASELINES)}")
    import_tensorflow()
    from transformer.tasks import task_class

    corpus = task_class(config.task.name).read(config)
    corpus.check()
    learned, test = list(corpus.learned_from()), list(corpus.examples("test"))
    for name, scores in baselines(learned, test):
        row = {"config": args.config, "baseline": name, "learned_from": len(learned), "test": len(test)}
        print(json.dumps({**row, **{key: round(value, 4) for key, value in scores.items()}}))


def of_labels(learned: Sequence, test: Sequence) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the accuracies of the most frequent label, and of logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts, wanted = [" ".join(example.texts) for example in test], [example.labels[0] for example in test]
    labels = [example.labels[0] for example in learned]
    most = collections.Counter(labels).most_common(1)[0][0]
    yield "most frequent label", {"accuracy": metrics.accuracy(wanted, [most] * len(test))}
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    model = make_pipeline(words, LogisticRegression(C=10.0, max_iter=1000))
    model.fit([" ".join(example.texts) for example in learned], labels)
    yield "TF-IDF, logistic regression", {"accuracy": metrics.accuracy(wanted, model.predict(texts).tolist())}


def of_tags(learned: Sequence, test: Sequence) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the scores of each word's most frequent tag; one that may not stand behind the tag before becomes O."""
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for example in learned:
        for (start, end), tag in zip(example.spans, example.tags, strict=True):
            counts[example.text[start:end]][tag] += 1
    best = {word: min(found, key=lambda tag: (-found[tag], tag)) for word, found in counts.items()}
    predicted = []
    for example in test:
        tags: list[str] = []
        for start, end in example.spans:
            tag = best.get(example.text[start:end], OUTSIDE)
            tags.append(tag if follows("iob2", tag, tags[-1] if tags else EDGE) else OUTSIDE)
        predicted.append(tags)
    every, kinds = metrics.entity_scores("iob2", [example.tags for example in test], predicted)
    yield (
        "most frequent tag",
        {"f1": every.f1, "precision": every.precision, "recall": every.recall, **{one.name: one.f1 for one in kinds}},
    )


def of_questions(learned: Sequence, test: Sequence) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the scores of answers by shared words."""
    contexts = {example.context for example in [*learned, *test]}
    texts = collections.Counter(word for context in contexts for word in set(_words(context)))
    weight = {word: math.log(len(contexts) / count) for word, count in texts.items()}
    frequent = {word for word, count in texts.items() if count >= FREQUENT * len(contexts)}
    found = [answer(example.question, example.context, weight, frequent) for example in test]
    right = [[one.text for one in example.answers] for example in test]
    scores = {
        name: sum(score(one, answers) for one, answers in zip(found, right, strict=True)) / len(test)
        for name, score in (("exact_match", metrics.exact_match), ("f1", metrics.answer_f1))
    }
    yield "shared words", scores


def answer(question: str, context: str, weight: dict[str, float], frequent: set[str]) -> str:
    """Return the part of a text that stands nearest to the words that its sentence shares with the question.

    Args:
        question, context: the texts.
        weight: of the words, the more the rarer; the sentence with the largest sum of shared ones is taken.
        frequent: words at which no answer begins or ends.
    """
    asked = set(_words(question))

    def shared(words: Iterable[str]) -> float:
        return sum(weight.get(word, 0.0) for word in asked.intersection(words))

    sentence = max((match.group() for match in SENTENCE.finditer(context)), key=lambda text: shared(_words(text)))
    spans = words_of(sentence)
    words = [sentence[start:end].lower() for start, end in spans]
    places = [i for i, word in enumerate(words) if word in asked]

    def near(first: int, last: int) -> float:
        return sum(weight.get(words[i], 0.0) / (min(abs(i - first), abs(i - last)) + 1) for i in places)

    def may_stand(first: int, last: int) -> bool:
        inside = words[first : last + 1]
        ends = {inside[0], inside[-1]}
        return not asked.intersection(inside) and not ends & frequent and all(word[0].isalnum() for word in ends)

    pairs = [(i, j) for i in range(len(words)) for j in range(i, min(i + LONGEST_ANSWER, len(words)))]
    candidates = [(i, j) for i, j in pairs if may_stand(i, j)]
    if not candidates:
        return sentence.strip()
    first, last = max(candidates, key=lambda pair: (near(*pair), pair[1] - pair[0]))
    return sentence[spans[first][0] : spans[last][1]]


def _words(text: str) -> list[str]:
    return [text[start:end].lower() for start, end in words_of(text)]


BASELINES = {"classification": of_labels, "tagging": of_tags, "question-answering": of_questions}


if __name__ == "__main__":
    sys.exit(main())
