"""`transformer embed`, `transformer search` and `transformer evaluate --task contrastive`."""

import json

import numpy as np
import pytest
from reference import randomised
from tiny_run import contrastive, pairs, write_run

from transformer.commands import embed, evaluate, search
from transformer.inference.embedder import Embedder
from transformer.metrics.labels import rank_correlation
from transformer.tasks import task_class


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a run with random weights, and its embedder, which all tests share."""
    folder = tmp_path_factory.mktemp("run")
    config = contrastive(folder)
    kind = task_class("contrastive")
    corpus = kind.read(config)
    task = kind(config, kind.learn(corpus, config), corpus.describe())
    path = write_run(folder / "run", config, task.vocabularies, randomised(task.network("float32")))
    return path, Embedder.load(path)


@pytest.fixture
def run(capsys, made, monkeypatch):
    """Return a function from a command and words to exit code, lines of output and of errors."""
    monkeypatch.setattr(Embedder, "load", classmethod(lambda cls, run, which="best": made[1]))

    def call(command, *words):
        try:
            code = command.main([str(word) for word in words])
        except SystemExit as left:
            code = left.code
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return call


def test_vectors_are_lines_of_json_or_an_array(run, made, tmp_path):
    path, embedder = made
    code, out, err = run(embed, path, "one sun", "", "sea")
    vectors = embedder.embed_and_warn(["one sun", "", "sea"]).vectors
    assert code == 0 and err == ["warning: text 2: empty, so that its vector is 0"]
    assert [json.loads(line)["text"] for line in out] == ["one sun", "", "sea"]
    np.testing.assert_allclose([json.loads(line)["vector"] for line in out], vectors, atol=1e-6)
    lines = tmp_path / "lines.txt"
    lines.write_text("one sun\n\nsea\n", encoding="utf-8")
    assert run(embed, path, "--input", lines, "--output", tmp_path / "v.npy")[0] == 0
    stored = np.load(tmp_path / "v.npy", allow_pickle=False)
    assert stored.dtype == np.float32
    np.testing.assert_allclose(stored, vectors, atol=1e-6)
    code, out, _ = run(embed, path, "--size", 4, "--raw", "sea")
    assert code == 0 and len(json.loads(out[0])["vector"]) == 4


def test_the_nearest_lines_are_found_with_and_without_stored_vectors(run, made, tmp_path):
    path, embedder = made
    texts = [english for _, english in pairs(30)]
    corpus, stored = tmp_path / "corpus.txt", tmp_path / "corpus.npy"
    corpus.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    assert run(embed, path, "--input", corpus, "--output", stored)[0] == 0
    products = embedder.embed(["sun", "moon sea"]) @ embedder.embed(texts).T
    expected = [f"{row[i]:.4f}\t{i + 1}\t{texts[i]}" for row in products for i in np.argsort(-row, kind="stable")[:2]]
    for more in ((), ("--vectors", stored)):
        code, out, _ = run(search, path, "--corpus", corpus, "--top", 2, "sun", "moon sea", *more)
        assert code == 0 and out == expected
    code, out, _ = run(search, path, "--corpus", corpus, "--json", "sun")
    found = json.loads(out[0])
    assert code == 0 and found["query"] == "sun" and len(found["found"]) == 5


def test_bad_input_is_one_line(run, made, tmp_path):
    path, _ = made
    empty, two, other = tmp_path / "empty.txt", tmp_path / "two.txt", tmp_path / "other.npy"
    empty.write_text("", encoding="utf-8")
    two.write_text("sun\nsea\n", encoding="utf-8")
    np.save(other, np.zeros((3, 16), np.float32))
    np.save(tmp_path / "wide.npy", np.zeros((2, 99), np.float32))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "text.npy").write_text("no array", encoding="utf-8")
    for words, code, told in (
        ((search, path, "--corpus", empty, "a"), 1, "empty.txt holds no line, so that nothing can be found"),
        ((search, path, "--corpus", tmp_path / "none", "a"), 1, "cannot read"),
        ((search, path, "--corpus", two, "--vectors", other, "a"), 1, "has 2 lines, and there are 3 vectors"),
        ((search, path, "--corpus", two, "--vectors", tmp_path / "wide.npy", "a"), 1, "at most 16 numbers"),
        ((search, path, "--corpus", two, "--vectors", tmp_path / "objects.npy", "a"), 1, "is no array of vectors"),
        ((search, path, "--corpus", two, "--vectors", tmp_path / "text.npy", "a"), 1, "is no array of vectors"),
        ((search, path, "--corpus", two, "--top", 0, "a"), 2, "--top must be from 1 to 10000, got 0"),
        ((search, path, "a"), 2, "--corpus"),
        ((embed, path, "--size", 17, "a"), 1, "--size must be at most 16"),
        ((embed, path, "--input", two, "a"), 2, "give texts or --input, not both"),
        ((embed, path, "--input", two, "--output", tmp_path), 1, "it is a directory"),
    ):
        found, out, err = run(*words)
        assert (found, out) == (code, []) and len(err) == 1 and told in err[0], (words, err)


def test_retrieval_is_scored_on_files_and_on_the_validation_pairs(run, made, tmp_path):
    path, embedder = made
    table = tmp_path / "pairs.tsv"
    some = pairs(20, seed=3)
    table.write_text("".join(f"{one}\t{other}\n" for one, other in some), encoding="utf-8")
    code, out, _ = run(evaluate, "--task", "contrastive", path, table, "--json")
    scores = json.loads(out[0])
    one, other = (embedder.embed(texts) for texts in zip(*some, strict=True))
    firsts = np.mean([np.argmax(one[i] @ other.T) == i for i in range(20)])
    assert code == 0 and scores["pairs"] == 20
    assert scores["first to second"]["accuracy_at_1"] == pytest.approx(firsts)
    code, out, _ = run(evaluate, "--task", "contrastive", path)
    assert code == 0 and out[0].startswith("12 pairs") and len(out) == 3


def test_likeness_is_compared_with_peoples_scores(run, made, tmp_path):
    path, embedder = made
    rows = [(5.0, "sun", "sun sun"), (1.5, "sea", "moon"), (0.0, "one", "river two"), (3.0, "two sea", "sea")]
    benchmark = "".join(f"main\tMSRvid\t2012\t{i}\t{s}\t{a}\t{b}\n" for i, (s, a, b) in enumerate(rows))
    cosines = [float(np.prod(embedder.embed([a, b]), axis=0).sum()) for _, a, b in rows]
    expected = rank_correlation([score for score, _, _ in rows], cosines)
    for content in (benchmark, "".join(f"{s}\t{a}\t{b}\n" for s, a, b in rows)):
        (tmp_path / "sts.tsv").write_text(content, encoding="utf-8")
        code, out, _ = run(evaluate, "--task", "contrastive", path, "--sts", tmp_path / "sts.tsv", "--json")
        assert code == 0 and json.loads(out[0]) == {"pairs": 4, "spearman": pytest.approx(expected)}
    for content, told in (("a\tb\n", "2 columns"), ("x\ta\tb\n", "'x' is no number"), ("1\ta\tb\n", "needs two")):
        (tmp_path / "sts.tsv").write_text(content, encoding="utf-8")
        code, _, err = run(evaluate, "--task", "contrastive", path, "--sts", tmp_path / "sts.tsv")
        assert code == 1 and told in err[0]
