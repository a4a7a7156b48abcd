"""Scores: worked by hand, against sacrebleu's own command line, and against the published Multi30k references."""

import gzip
import json
import math
import subprocess
import sys
from collections import Counter

import pytest

from transformer.commands import evaluate
from transformer.data.examples import text_files
from transformer.metrics import text as scores
from transformer.metrics.rouge import Rouge
from transformer.metrics.significance import compare
from transformer.system.errors import UserError

HYPOTHESES = ["the cat is on the mat", "there is a big house"]
REFERENCES = ["the cat sat on the mat", "there is a house"]


def write(path, *sentences):
    path.write_text("".join(sentence + "\n" for sentence in sentences), encoding="utf-8")
    return str(path)


def run(capsys, *argv):
    """Return exit code, stdout and stderr of the command line."""
    try:
        code = evaluate.main([str(word) for word in argv])
    except SystemExit as stopped:
        code = stopped.code
    return (code, *capsys.readouterr())


def test_bleu_worked_by_hand():
    # Matches: 5 of 6 and 4 of 5 words; 3 of 5 and 2 of 4 pairs; 1 of 4 and 1 of 3 triples; 0 of 3 and 0 of 2 fours,
    # which `exp` smoothing counts as 1/2. 11 words against 10: no brevity penalty.
    expected = 100 * (9 / 11 * 5 / 9 * 2 / 7 * (1 / 2) / 5) ** (1 / 4)
    score = scores.bleu(HYPOTHESES, REFERENCES, "en")
    assert score.score == pytest.approx(expected, abs=1e-9)
    assert score.signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")


def test_bleu_brevity_penalty_and_case():
    # All n-grams right, 5 words instead of 6: exp(1 - 6/5).
    short = scores.bleu(["the cat sat on the"], ["the cat sat on the mat"], "en")
    assert short.score == pytest.approx(100 * math.exp(-0.2), abs=1e-9)
    assert scores.bleu(["The cat sat on the mat"], ["the cat sat on the mat"], "en").score < 100


def test_chrf_equals_a_plain_loop():
    def grams(text, n):
        text = text.replace(" ", "")
        return Counter(text[i : i + n] for i in range(len(text) - n + 1))

    precisions, recalls = [], []
    for n in range(1, 7):
        pairs = [(grams(h, n), grams(r, n)) for h, r in zip(HYPOTHESES, REFERENCES, strict=True)]
        same = sum((h & r).total() for h, r in pairs)
        precisions.append(same / sum(h.total() for h, _ in pairs))
        recalls.append(same / sum(r.total() for _, r in pairs))
    precision, recall = sum(precisions) / 6, sum(recalls) / 6
    expected = 100 * 5 * precision * recall / (4 * precision + recall)
    score = scores.chrf(HYPOTHESES, REFERENCES)
    assert score.score == pytest.approx(expected, abs=1e-6)
    assert "|nc:6|nw:0|" in score.signature


def test_hypotheses_without_any_match_or_word_score_nothing():
    assert scores.bleu(["", ""], REFERENCES, "en").score == 0
    assert scores.chrf(["", ""], REFERENCES).score == 0


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [("en", "13a"), ("", "13a"), ("pt-BR", "13a"), ("zh-TW", "zh"), ("zho", "zh"), ("ja", "char")],
)
def test_tokenizer_of_a_language(language, tokenizer):
    assert f"|tok:{tokenizer}|" in scores.bleu(["a b c d"], ["a b c d"], language).signature


def test_chinese_is_scored_by_character():
    # Five characters, the fourth is wrong: 4/5 of them, 2/4 pairs, 1/3 triples, 0/2 fours, smoothed to 1/2.
    score = scores.bleu(["车站在那。"], ["车站在哪。"], "zh").score
    assert score == pytest.approx(100 * (4 / 5 * 2 / 4 * 1 / 3 * 0.5 / 2) ** (1 / 4), abs=1e-9)


def test_tokenised_bleu_worked_by_hand():
    # Prepared: "ein &quot; hund &quot; läuft ." against the same with "katze": 5/6 words, 3/5 pairs, 1/4 triples, 0/3.
    score = scores.tokenised_bleu(['Ein "Hund" läuft.'], ["ein &quot; katze &quot; läuft ."], "de")
    assert score.score == pytest.approx(100 * (5 / 6 * 3 / 5 * 1 / 4 * 0.5 / 3) ** (1 / 4), abs=1e-9)
    assert "|tok:none|" in score.signature


@pytest.mark.parametrize("function", [scores.bleu, scores.chrf])
def test_unequal_or_no_sentences_are_refused(function):
    with pytest.raises(ValueError, match="hypotheses must be as many as references, got 2 and 1"):
        function(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="at least one sentence"):
        function([], [])
    with pytest.raises(ValueError, match="hypotheses must be as many as references, got 2 and 1"):
        function(["a", "b"], [["a", "b"], ["a"]])


def test_several_references_worked_by_hand():
    # "a b c d e" against "a b c x" and "y b c d e f": of one reference or the other are all 5 words, all 4 pairs, all 3
    # triples and the four "b c d e", but not "a b c d". Both lengths are 1 away, so the shorter counts: no penalty.
    references = [["a b c x"], ["y b c d e f"]]
    score = scores.bleu(["a b c d e"], references, "en")
    assert score.score == pytest.approx(100 * (1 * 1 * 1 * 1 / 2) ** (1 / 4), abs=1e-9)
    assert score.signature.startswith("nrefs:2|")
    assert scores.bleu(["a b c d e"], tuple(map(tuple, references)), "en") == score
    assert scores.tokenised_bleu(["A b C d e"], references, "en").score == pytest.approx(score.score)
    best = max(scores.chrf(["a b c d e"], one).score for one in references)
    both = scores.chrf(["a b c d e"], references)
    assert both.score == pytest.approx(best) and both.signature.startswith("nrefs:2|")
    assert scores.bleu(["a b c d e"], references[:1], "en") == scores.bleu(["a b c d e"], references[0], "en")


def test_unknown_tokenizer_is_refused():
    with pytest.raises(ValueError, match="tokenizer must be one of .*, got 'moses'"):
        scores.bleu(["a"], ["a"], tokenizer="moses")


def test_mecab_that_is_not_installed_is_one_clear_line(monkeypatch):
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_ja_mecab.MeCab", None)
    with pytest.raises(UserError, match=r"^tokenizer 'ja-mecab' needs .* pip install 'sacrebleu\[ja\]', or choose"):
        scores.bleu(["駅"], ["駅"], "ja", "ja-mecab")


@pytest.mark.parametrize(("language", "tokenizer"), [("de", "13a"), ("zh", "zh")])
def test_command_line_equals_that_of_sacrebleu(tmp_path, capsys, language, tokenizer):
    texts = {
        "de": (["Ein Hund läuft schnell über das grüne Gras.", "Zwei Männer (mit Hut) reden."],
               ["Ein Hund rennt schnell über das Gras.", "Zwei Männer mit Hut reden."]),
        "zh": (["我们明天去北京的车站。", "他说:\"你好\"。"], ["我们明天去上海的车站。", "他说你好。"]),
    }  # fmt: skip
    hypotheses, references = (write(tmp_path / str(i), *side) for i, side in enumerate(texts[language]))
    command = [sys.executable, "-m", "sacrebleu", references, "-i", hypotheses, "-m", "bleu", "chrf", "-w", "2"]
    done = subprocess.run(
        [*command, "--tokenize", tokenizer, "--format", "json"], capture_output=True, check=True, encoding="utf-8"
    )
    theirs = [f"{float(entry['score']):.2f}  {entry['signature']}" for entry in json.loads(done.stdout)]
    code, out, err = run(capsys, hypotheses, references, "--target-language", language)
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"sacreBLEU {theirs[0]}", f"chrF {theirs[1]}"]


def test_command_line_reads_gzip_and_prints_the_tokenised_measure(tmp_path, capsys):
    hypotheses = tmp_path / "out.gz"
    hypotheses.write_bytes(gzip.compress('Ein "Hund" läuft.\n'.encode()))
    references = write(tmp_path / "ref", 'EIN "Katze" läuft.')
    code, out, _ = run(capsys, hypotheses, references, "--target-language", "de", "--lowercase-tokenised")
    assert code == 0
    expected = 100 * (5 / 6 * 3 / 5 * 1 / 4 * 0.5 / 3) ** (1 / 4)  # see test_tokenised_bleu_worked_by_hand
    assert out.splitlines()[2].startswith(f"lower-cased tokenised BLEU {expected:.2f}  nrefs:1|")


def test_command_line_ends_lines_at_line_feeds_only(tmp_path, capsys):
    text = "a\u2028b c\u0085d e\x0bf g\x0ch"
    hypotheses, references = write(tmp_path / "a", text), write(tmp_path / "b", text)
    code, out, _ = run(capsys, hypotheses, references, "--target-language", "en")
    assert code == 0
    assert out.startswith("sacreBLEU 100.00  ")


def test_command_line_tells_each_mistake_in_one_line(tmp_path, capsys):
    one, two = write(tmp_path / "one", "a"), write(tmp_path / "two", "a", "b")
    empty, blank = write(tmp_path / "empty"), write(tmp_path / "blank", "", " ")
    (tmp_path / "latin1").write_bytes("a\ncafé\n".encode("latin-1"))
    latin1, gone = str(tmp_path / "latin1"), str(tmp_path / "gone")
    cases = [
        ((gone, one, "en"), f"cannot read {gone}: No such file or directory"),
        ((one, str(tmp_path), "en"), f"cannot read {tmp_path}: Is a directory"),
        ((one, two, "en"), f"{one} has 1 lines and {two} has 2: line 2 has no counterpart"),
        ((two, latin1, "en"), f"{latin1}, line 2: not valid UTF-8"),
        ((empty, one, "en"), f"{empty} holds no text"),
        ((two, blank, "en"), f"{blank} holds no text"),
        ((one, one, "xx"), "unknown language 'xx'"),
        ((one, one, "jp"), "unknown language 'jp'. Did you mean 'ja'?"),
        ((one, one, "kr"), "unclear language 'kr': give 'ko' for Korean"),
    ]
    for (hypotheses, references, language), message in cases:
        code, out, err = run(capsys, hypotheses, references, "--target-language", language)
        assert (code, out) == (1, "")
        assert err.startswith(f"error: {message}")
        assert err.count("\n") == 1


def test_command_line_with_several_references_equals_that_of_sacrebleu(tmp_path, capsys):
    hypotheses = write(tmp_path / "h", "Ein Hund rennt über das Gras.", "Zwei Männer reden.")
    first = write(tmp_path / "1", "Ein Hund läuft über Gras.", "Zwei Männer mit Hut reden.")
    second = write(tmp_path / "2", "Ein Hund rennt auf dem Gras.", "Die Männer reden.")
    command = [sys.executable, "-m", "sacrebleu", first, second, "-i", hypotheses, "-m", "bleu", "chrf", "-w", "2"]
    done = subprocess.run([*command, "--format", "json"], capture_output=True, check=True, encoding="utf-8")
    theirs = [f"{float(entry['score']):.2f}  {entry['signature']}" for entry in json.loads(done.stdout)]
    code, out, err = run(capsys, hypotheses, first, second, "--target-language", "de", "--lowercase-tokenised")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == [f"sacreBLEU {theirs[0]}", f"chrF {theirs[1]}"] and "nrefs:2|" in lines[0]
    assert lines[2].startswith("lower-cased tokenised BLEU ") and "nrefs:2|" in lines[2]
    short = write(tmp_path / "short", "Ein Hund läuft.")
    code, out, err = run(capsys, hypotheses, first, short, "--target-language", "de")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {hypotheses} has 2 lines and {short} has 1: line 2 has no counterpart")


def test_tokenised_text_is_warned_of_in_the_words_of_this_command(tmp_path, capsys, caplog):
    plain = write(tmp_path / "plain", *["A dog runs."] * 100)
    tokenised = write(tmp_path / "tokenised", *["A dog runs ."] * 100)
    few = write(tmp_path / "few", *["A dog runs ."] * 99, "A dog runs.")
    for words, names in (((tokenised, plain), tokenised), ((plain, few, tokenised), tokenised), ((few, plain), "")):
        code, out, err = run(capsys, *words, "--target-language", "en")
        assert code == 0 and out.count("\n") == 2
        warned = f"warning: {names}: 100 lines or more end in ' .', as tokenised text does; score text as people write"
        assert err.startswith(warned) and "--tokenizer none" in err and err.count("\n") == 1 if names else not err
    assert run(capsys, tokenised, tokenised, "--target-language", "en", "--tokenizer", "none")[2] == ""
    assert not caplog.records  # sacrebleu's own, which name its flags


def test_rouge_and_a_baseline_on_the_command_line(tmp_path, capsys):
    hypotheses = write(tmp_path / "h", "the cat sat", "a dog ran", "my bird")
    baseline = write(tmp_path / "b", "the cat sat", "a dog sat", "my fish")
    reference = write(tmp_path / "r", "the cat sat", "a dog ran", "my bird")
    flags = ("--target-language", "en", "--rouge", "--baseline", baseline)
    code, out, err = run(capsys, hypotheses, reference, *flags)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split(" ")[0] for line in lines[::2]] == ["sacreBLEU", "chrF", "ROUGE-1", "ROUGE-2", "ROUGE-L"]
    assert lines[4].startswith("ROUGE-1 100.00  nrefs:1|tok:default|stem:no|version:rouge-score-")
    found = compare(Rouge("ROUGE-1"), *(list(text_files.lines(tmp_path / name)) for name in "hbr"))
    assert found.baseline == pytest.approx(100 * (1 + 2 / 3 + 1 / 2) / 3)  # all three words, two of three, one of two
    assert lines[5] == f"  {baseline}: 72.22, +27.78 to it, p = {found.p_value:.4f}"
    short = write(tmp_path / "s", "the cat sat")
    code, out, err = run(capsys, hypotheses, reference, "--target-language", "en", "--baseline", short)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {hypotheses} has 3 lines and {short} has 1: line 2 has no counterpart")


def test_rouge_tells_of_letters_that_its_tokenizer_does_not_read(tmp_path, capsys):
    one = write(tmp_path / "one", "我们去北京。")
    flags = ("--target-language", "zh", "--rouge")
    code, out, err = run(capsys, one, one, *flags)
    assert code == 0 and "ROUGE-1 0.00  " in out
    assert err == (
        f"warning: {one}: rouge-score's tokenizer leaves out 100% of the letters, all but a to z; "
        "--rouge-tokenizer zh reads them\n"
    )
    code, out, err = run(capsys, one, one, *flags, "--rouge-tokenizer", "zh")
    assert (code, err) == (0, "") and "ROUGE-2 100.00  " in out


@pytest.mark.parametrize("words", [["a"], ["a", "b"], ["a", "b", "--target-language", "en", "--tokenizer", "moses"]])
def test_wrong_usage_is_one_line_and_code_2(capsys, words):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_as_a_module(tmp_path):
    one = write(tmp_path / "one", "a b c d")
    command = [sys.executable, "-m", "transformer", "evaluate", one, one, "--target-language", "en"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("sacreBLEU 100.00  ")


@pytest.mark.parametrize("language", ["de", "en"])
def test_lowercase_tokenise_reproduces_the_published_references(data_folder, language):
    folder = data_folder("multi30k")
    raw, published = (
        list(text_files.lines(folder / f"test_2016_flickr{kind}.{language}")) for kind in ("", ".lc.norm.tok")
    )
    assert scores.lowercase_tokenise(raw, language) == published
    assert scores.tokenised_bleu(raw, published, language).score == pytest.approx(100)


def test_nothing_heavy_is_imported_with_the_module():
    heavy = "{'rouge_score', 'sacrebleu', 'sacremoses', 'babel', 'tensorflow'}"
    code = f"import sys, transformer.commands.evaluate; print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, encoding="utf-8")
    assert done.stdout.strip() == "set()"
