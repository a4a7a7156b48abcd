"""The phrasebook: counts, grammar, splits and the TFDS builder."""

import collections
import os
import re
import socket
import subprocess
import sys

import pytest
from conftest import ROOT

from transformer.data import phrasebook
from transformer.data.phrasebook import everyday, grammar, inflection, lexicon, numbers, splits

HELD_OUT = ("test", "validation")
OF_PATTERNS = ("train", *HELD_OUT, "free")  # and free.tsv
EVERYDAY = ("everyday_train", "everyday_validation", "everyday")


@pytest.fixture(scope="module")
def corpus():
    return {split: phrasebook.generate(split) for split in phrasebook.SPLITS}


@pytest.fixture(scope="module")
def patterns():
    return {pattern.name: pattern for pattern in grammar.load_patterns()}


@pytest.fixture(scope="module")
def sentences(corpus):
    return [sentence for split in OF_PATTERNS for sentence in corpus[split]]


def written(kind: str, key: str) -> lexicon.Entry:
    """Return the entry of the package with this key."""
    return next(entry for entry in lexicon.load_types()[kind] if entry.key == key)


def made(patterns, name: str, **keys: str) -> tuple[str, str, str]:
    """Return the three texts of a pattern with the entries of these keys."""
    pattern = patterns[name]
    indices = []
    for slot, entries in zip(pattern.slots, pattern.entries, strict=True):
        indices.append([entry.key for entry in entries].index(keys[slot]))
    return pattern.render(tuple(indices))[:3]


# Size


def test_counts(corpus):
    counts = phrasebook.describe()
    assert counts["patterns"] >= 200
    assert counts["entries"] >= 600
    assert counts["pairs"] >= 100_000
    assert counts["largest_share"] <= 0.02
    assert counts["train"] >= 100_000
    assert 800 <= counts["validation"] <= 1200
    assert 1000 <= counts["test"] <= 1500
    assert counts["free"] >= 100
    assert counts["pairs"] == sum(len(corpus[split]) for split in ("train", "validation", "test"))


@pytest.mark.parametrize("language", phrasebook.LANGUAGES)
def test_no_sentence_occurs_twice(sentences, language):
    # In each direction every source thus has one target, and there are as many pairs as sentences.
    assert len({getattr(sentence, language) for sentence in sentences}) == len(sentences) >= 100_000


def test_every_topic_of_the_issue_has_patterns(patterns):
    topics = {name.split(".")[0] for name in patterns}
    assert topics >= set("travel food family work school health weather time shopping feelings small_talk".split())


def test_number_slots_have_at_most_ten_values(patterns):
    numeric = [
        entries
        for pattern in patterns.values()
        for kind, entries in zip(pattern.types, pattern.entries, strict=True)
        if kind in numbers.VALUES
    ]
    assert len(numeric) > 20
    assert max(map(len, numeric)) <= 10


def test_digits_come_from_number_slots_alone():
    for topic in lexicon.read_tables("patterns").values():
        for table in topic.values():
            literals = "".join(grammar.SLOT.sub("", table[language]) for language in phrasebook.LANGUAGES)
            assert not re.search(r"\d", literals)
    for entries in lexicon.load_types().values():
        assert not [entry.key for entry in entries if re.search(r"\d", "".join(entry.text.values()))]


# Grammar


@pytest.mark.parametrize(
    "key, form, expected",
    [
        ("station", "o", "a estação"),
        ("hotel", "o", "o hotel"),
        ("station", "no", "na estação"),
        ("hotel", "no", "no hotel"),
        ("beach", "ao", "à praia"),
        ("bank", "ao", "ao banco"),
        ("bakery", "do", "da padaria"),
        ("museum", "pelo", "pelo museu"),
        ("station", "s", "estações"),
        ("hotel", "os", "os hotéis"),
        ("bus_stop", "dos", "dos pontos de ônibus"),
        ("church", "um", "uma igreja"),
    ],
)
def test_portuguese_articles_and_contractions(key, form, expected):
    assert written("place", key).form("pt", form, None) == expected


@pytest.mark.parametrize(
    "kind, key, expected",
    [
        ("city", "sao_paulo", ["São Paulo", "em São Paulo", "de São Paulo"]),
        ("city", "rio", ["o Rio de Janeiro", "no Rio de Janeiro", "do Rio de Janeiro"]),
        ("country", "china", ["a China", "na China", "da China"]),
        ("country", "united_states", ["os Estados Unidos", "nos Estados Unidos", "dos Estados Unidos"]),
    ],
)
def test_names_take_the_article_that_custom_gives_them(kind, key, expected):
    assert [written(kind, key).form("pt", form, None) for form in ("o", "no", "do")] == expected


@pytest.mark.parametrize(
    "kind, key, form, expected",
    [
        ("place", "airport", "a", "an airport"),
        ("place", "university", "a", "a university"),
        ("place", "park", "in", "in the park"),
        ("place", "bank", "in", "at the bank"),
        ("city", "rome", "the", "Rome"),
        ("clothes", "boots", "this", "these boots"),
        ("clothes", "dress", "that", "that dress"),
        ("clothes", "pants", "a", "some pants"),
        ("relative", "wife", "s", "wives"),
        ("relative", "niece", "s", "nieces"),
        ("place", "bakery", "s", "bakeries"),
    ],
)
def test_english_articles_and_plurals(kind, key, form, expected):
    assert written(kind, key).form("en", form, None) == expected


@pytest.mark.parametrize(
    "kind, key, measure",
    [
        ("order", "coffee", "杯"),
        ("item", "book", "本"),
        ("clothes", "pants", "条"),
        ("clothes", "shoes", "双"),
        ("animal", "cat", "只"),
        ("animal", "horse", "匹"),
        ("item", "car", "辆"),
        ("place", "hotel", "家"),
    ],
)
def test_chinese_measure_words(kind, key, measure):
    assert written(kind, key).form("zh", "cl", None) == measure


@pytest.mark.parametrize(
    "lemma, tense, expected",
    [
        ("falar", "pres", ("falo", "fala", "falamos", "falam")),
        ("comer", "past", ("comi", "comeu", "comemos", "comeram")),
        ("abrir", "pres", ("abro", "abre", "abrimos", "abrem")),
        ("tocar", "past", ("toquei", "tocou", "tocamos", "tocaram")),
        ("jogar", "past", ("joguei", "jogou", "jogamos", "jogaram")),
        ("dançar", "past", ("dancei", "dançou", "dançamos", "dançaram")),
        ("partir", "ger", ("partindo",)),
    ],
)
def test_regular_portuguese_verbs(lemma, tense, expected):
    assert inflection.portuguese_verb(lemma, {})[tense] == expected


def test_irregular_verbs_agree():
    read, run = written("action", "read_book"), written("action", "run_park")
    assert read.form("pt", "pres", written("person", "i")) == "leio um livro"
    assert read.form("pt", "pres", written("person", "parents")) == "leem um livro"
    assert written("action", "go_gym").form("pt", "past", written("person", "we")) == "fomos à academia"
    assert run.form("en", "past", None) == "ran in the park"
    assert run.form("en", "ing", None) == "running in the park"
    assert run.form("en", "pres", written("person", "ana")) == "runs in the park"
    assert written("action", "make_salad").form("zh", "了", None) == "做了沙拉"


def test_going_to_go_is_not_doubled():
    assert written("action", "go_gym").form("pt", "fut", written("person", "she")) == "vai à academia"
    assert written("action", "swim").form("pt", "fut", written("person", "she")) == "vai nadar"


@pytest.mark.parametrize(
    "who, expected",
    [
        ("i", ("Eu estou cansado hoje.", "I am tired today.", "我今天很累。")),
        ("she", ("Ela está cansada hoje.", "She is tired today.", "她今天很累。")),
        ("we", ("Nós estamos cansados hoje.", "We are tired today.", "我们今天很累。")),
        ("mother", ("Minha mãe está cansada hoje.", "My mother is tired today.", "我妈妈今天很累。")),
        ("parents", ("Meus pais estão cansados hoje.", "My parents are tired today.", "我父母今天很累。")),
    ],
)
def test_person_gender_and_number_agree(patterns, who, expected):
    assert made(patterns, "feelings.today", who=who, feeling="tired") == expected


def test_adjectives_and_measure_words_agree_with_the_thing(patterns):
    assert made(patterns, "shopping.try_on", clothes="shoes", color="white") == (
        "Eu posso experimentar estes sapatos brancos?",
        "Can I try on these white shoes?",
        "我可以试试这双白色的鞋子吗？",
    )
    assert made(patterns, "shopping.try_on", clothes="dress", color="red") == (
        "Eu posso experimentar este vestido vermelho?",
        "Can I try on this red dress?",
        "我可以试试这条红色的连衣裙吗？",
    )


def test_possessors(patterns):
    sentence = made(patterns, "family.pet_color", who="colleagues", animal="cat", color="black")
    assert sentence == ("O gato dos meus colegas é preto.", "My coworkers' cat is black.", "我同事们的猫是黑色的。")
    sentence = made(patterns, "family.pet_color", who="she", animal="cat", color="black")
    assert sentence == ("O gato dela é preto.", "Her cat is black.", "她的猫是黑色的。")


def test_tenses_take_their_time_words_and_aspect(patterns):
    assert made(patterns, "daily.past", who="ana", do="swim", past_time="yesterday") == (
        "Ana nadou ontem.",
        "Ana swam yesterday.",
        "安娜昨天游了泳。",
    )
    assert made(patterns, "daily.past_negative", who="they", do="swim", past_time="yesterday") == (
        "Eles não nadaram ontem.",
        "They didn't swim yesterday.",
        "他们昨天没游泳。",
    )


@pytest.mark.parametrize(
    "kind, value, expected",
    [
        ("price", 25.5, ["R$ 25,50", "R$25.50", "25.50巴西雷亚尔"]),
        ("large_price", 1200.0, ["R$ 1.200,00", "R$1,200.00", "1,200.00巴西雷亚尔"]),
        ("clock", 15 * 60 + 30, ["15:30", "3:30 PM", "15:30"]),
        ("date", 31 + 29 + 4, ["5 de março", "March 5", "3月5日"]),
        ("on_weekday", 0, ["na segunda-feira", "on Monday", "星期一"]),
        ("on_weekday", 6, ["no domingo", "on Sunday", "星期日"]),
        ("month", 2, ["março", "March", "三月"]),
        ("degrees", 20, ["20 °C", "20°C", "20°C"]),
    ],
)
def test_numbers_are_written_in_the_custom_of_each_language(kind, value, expected):
    entry = numbers.value_entry(kind, value)
    assert [entry.form(language, "", None) for language in phrasebook.LANGUAGES] == expected


def test_surface(sentences):
    for sentence in sentences:
        for text in sentence[:3]:
            assert not re.search(r"[{}|@\u00a0\u202f]|  |^ | $| [.,?!]", text), sentence
        for text in sentence[:2]:
            assert text[0].isupper() or text[0].isdigit(), sentence
            assert text[-1] in ".?!", sentence
            assert not re.search(r"[\u3000-\u9fff\uff00-\uffef]", text), sentence
        assert sentence.zh[-1] in "。？！", sentence
        assert not re.search(r"[,?!;]|\.(?!\d)|\s", sentence.zh.replace("1,", "").replace("2,", "")), sentence
        assert sentence.pt[-1] == sentence.en[-1] == {"。": ".", "？": "?", "！": "!"}[sentence.zh[-1]], sentence
        assert 2 <= len(sentence.pt.split()) <= 18 and 2 <= len(sentence.en.split()) <= 18, sentence


def test_most_sentences_are_short(corpus):
    lengths = sorted(len(sentence.en.split()) for sentence in corpus["train"])
    assert lengths[len(lengths) // 100] >= 3
    assert lengths[-len(lengths) // 50] <= 14


# Splits


def test_the_sentence_of_the_readme_is_trained(corpus):
    assert ("Onde fica a estação?", "Where is the station?", "车站在哪里？") in {s[:3] for s in corpus["train"]}


@pytest.mark.parametrize("language", phrasebook.LANGUAGES)
def test_splits_share_no_sentence(corpus, language):
    texts = {split: {getattr(sentence, language) for sentence in corpus[split]} for split in phrasebook.SPLITS}
    names = list(texts)
    for position, name in enumerate(names):
        assert len(texts[name]) == len(corpus[name]) or name == "everyday_train"
        for other in names[position + 1 :]:
            assert texts[name].isdisjoint(texts[other])


@pytest.mark.parametrize("split", HELD_OUT)
def test_patterns_are_alike_represented(corpus, patterns, split):
    counts = collections.Counter(sentence.pattern for sentence in corpus[split])
    assert set(counts) == set(patterns)
    assert len(set(counts.values())) == 1


def sentence_expression(pattern, language, held=None):
    """Return a regular expression of the pattern's sentences, or of those with one entry in the held slot."""
    parts = []
    for segment in pattern.segments[language]:
        texts = segment[-1]
        if len(segment) > 1 and segment[0] == pattern.held_slot and held is not None:
            texts = [texts[held]]
        if len(segment) == 3:
            if segment[1] == pattern.held_slot and held is not None:
                texts = [[row[held]] for row in texts]
            texts = [text for row in texts for text in row]
        parts.append(re.escape(texts) if len(segment) == 1 else f"(?:{'|'.join(map(re.escape, set(texts)))})")
    return re.compile("".join(parts), re.IGNORECASE)


def test_held_out_combinations_are_absent_from_training(corpus, patterns):
    by_pattern = {split: collections.defaultdict(list) for split in phrasebook.SPLITS}
    for split, sentences_by_pattern in by_pattern.items():
        for sentence in corpus[split]:
            sentences_by_pattern[sentence.pattern].append(sentence.en)
    partitions = splits.partition_entries(list(patterns.values()))
    for name, pattern in patterns.items():
        allowed = {}
        for split in HELD_OUT:
            held = getattr(partitions[name], split)
            allowed[split] = [sentence_expression(pattern, "en", index) for index in held]
            for text in by_pattern[split][name]:
                assert any(expression.fullmatch(text) for expression in allowed[split]), (name, text)
        assert not set(partitions[name].test) & set(partitions[name].validation)
        for expression in allowed["test"] + allowed["validation"]:
            trained = [text for text in by_pattern["train"][name] if expression.fullmatch(text)]
            assert not trained, (name, trained[:3])


@pytest.mark.parametrize("split", ("test", "validation", "free"))
@pytest.mark.parametrize("language", phrasebook.LANGUAGES)
def test_every_word_is_trained(corpus, language, split):
    expression = r"[^\W_]" if language == "zh" else r"[^\W_]+(?:['-][^\W_]+)*"
    trained = {
        word for sentence in corpus["train"] for word in re.findall(expression, getattr(sentence, language).lower())
    }
    unknown = {
        word
        for sentence in corpus[split]
        for word in re.findall(expression, getattr(sentence, language).lower())
        if word not in trained
    }
    assert not unknown


# Everyday sentences


def test_a_fifth_of_the_everyday_sentences_is_never_trained_on(corpus):
    sizes = [len(corpus[split]) for split in EVERYDAY]
    assert sum(sizes) >= 4000 and sizes[2] == sum(sizes) // 5 and sizes[1] == sum(sizes) // 25
    train, *held = (corpus[split] for split in EVERYDAY)
    assert min(len(sentence.pt.split()) for split in held for sentence in split) >= 4
    assert {"Obrigado.", "Quanto custa isso?", "Eu te amo."} <= {sentence.pt for sentence in train}
    topics = {sentence.pattern for sentence in train}
    assert len(topics) >= 20 and all(topic.startswith("everyday.") for topic in topics)


def test_everyday_sentences_are_written_as_each_language_is():
    sentences = everyday.read_everyday()
    assert len({sentence.pt.lower() for sentence in sentences}) == len(sentences)  # so each has one translation
    endings = {"pt": ".?!…", "en": ".?!…", "zh": "。？！…"}
    for sentence in sentences:
        for language, text in zip(phrasebook.LANGUAGES, sentence[:3], strict=True):
            assert text == text.strip() and "  " not in text and text.rstrip('"”')[-1] in endings[language], sentence
        assert not re.search(r"[^\x20-\x7e\u00a1-\u00ff]", sentence.pt + sentence.en), sentence
        assert re.search(r"[\u4e00-\u9fff]", sentence.zh) and not re.search(r"[,?!;]|\.(?!\d)", sentence.zh), sentence
        assert len(sentence.pt.split()) <= 25 and len(sentence.en.split()) <= 25, sentence


def test_free_sentences_follow_no_pattern(corpus, patterns):
    for language in phrasebook.LANGUAGES:
        texts = [getattr(sentence, language) for sentence in corpus["free"]]
        for name, pattern in patterns.items():
            expression = sentence_expression(pattern, language)
            found = [text for text in texts if expression.fullmatch(text)]
            assert not found, (name, found)


def test_unknown_split_and_direction_are_refused():
    with pytest.raises(ValueError, match="split must be one of .* got 'dev'"):
        phrasebook.generate("dev")
    with pytest.raises(ValueError, match="direction must be one of .* got 'pt_to_fr'"):
        phrasebook.load_builder("pt_to_fr")


SCRIPT = """
import sys
from transformer.data import phrasebook
loaded = [name for name in ("tensorflow_datasets", "tensorflow", "babel") if name in sys.modules]
assert not loaded, loaded
for split in phrasebook.SPLITS:
    for sentence in phrasebook.generate(split):
        print(*sentence[:4], sep="\\t")
"""


@pytest.mark.slow  # it makes all sentences again, in another process
def test_the_same_in_every_process(corpus):
    # This process has a hash seed of its own, as a rule a random one.
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    expected = ["\t".join(sentence[:4]) for split in phrasebook.SPLITS for sentence in corpus[split]]
    assert run.stdout.splitlines() == expected


# Errors in the data files


NOUN = {"kind": "noun", "car": ["carro | m", "car", "车 | 辆"], "bus": ["ônibus | m | ônibus", "bus", "公交车 | 辆"]}


@pytest.mark.parametrize(
    "table, message",
    [
        ({"kind": "thing"}, r"entries \[x\]: kind must be one of"),
        ({"kind": "noun", "car": ["carro | m", "car"]}, r"entries \[x\] car: must be \[pt, en, zh\]"),
        ({"kind": "noun", "car": ["carro | m", "", "车"]}, r"entries \[x\] car: must be \[pt, en, zh\]"),
        ({"kind": "noun", "car": ["carro", "car", "车"]}, r"\[x\] car: the pt record needs a gender"),
        ({"kind": "person", "he": ["ele | m", "he", "他"]}, r"\[x\] he: the pt record of a person"),
        ({"kind": "verb", "sing": ["canto", "sing", "唱 歌"]}, r"\[x\] sing: 'canto' is no Portuguese infinitive"),
        ({"kind": "adjective", "blue": ["azul", "blue", "蓝色"]}, r"\[x\] blue: the plural of 'azul' must be written"),
    ],
)
def test_wrong_entries_are_named(table, message):
    with pytest.raises(ValueError, match=message):
        lexicon.build_type("x", table, {"pt": {"ir": {}}, "en": {}})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"zh": None}, r"pattern t.p: missing \['zh'\]"),
        ({"pt": "Um {carr}."}, "unknown slot type 'carr'"),
        ({"pt": "Um {noun:nox}."}, "a pt noun has no form 'nox'"),
        ({"en": "A car."}, r"slots \['noun'\] are missing in 'A car.'"),
        ({"en": "A {noun."}, "unreadable slot"),
        ({"en": "A {noun} {other}."}, "slot 'other' does not occur in pt"),
        ({"slots": {"noun": "noun red"}}, r"has no tag \['red'\]"),
        ({"note": "x"}, r"unknown keys \['note'\]"),
        ({"zh": "{noun:v}。"}, "has no form 'v'"),
    ],
)
def test_wrong_patterns_are_named(changes, message):
    table = {"pt": "Um {noun}.", "en": "A {noun}.", "zh": "一{noun:cl}{noun}。", **changes}
    table = {key: value for key, value in table.items() if value is not None}
    types = {"noun": lexicon.build_type("noun", NOUN, {"pt": {}, "en": {}})}
    with pytest.raises(ValueError, match=message):
        grammar.Pattern("t.p", table, types)


def test_a_pattern_with_too_few_entries_is_refused():
    types = {"noun": lexicon.build_type("noun", NOUN, {"pt": {}, "en": {}})}
    pattern = grammar.Pattern("t.p", {"pt": "Um {noun}.", "en": "A {noun}.", "zh": "一辆{noun}。"}, types)
    with pytest.raises(ValueError, match="pattern t.p: too few entries in noun"):
        splits.partition_entries([pattern])


# TFDS


@pytest.fixture(scope="module", params=[500, pytest.param(None, marks=pytest.mark.slow)])
def parts(corpus, request):
    """Return the first sentences of each split, or all of them, which take half a minute to write and to read."""
    return {split: sentences[: request.param] for split, sentences in corpus.items()}


@pytest.fixture(scope="module")
def builder(tmp_path_factory, parts):
    pytest.importorskip("tensorflow_datasets")

    def refuse(*args, **kwargs):
        raise AssertionError("the phrasebook must not use the network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        patch.setattr(phrasebook, "generate", parts.__getitem__)
        yield phrasebook.load_builder("pt_to_en", str(tmp_path_factory.mktemp("data")))


def test_builder_gives_the_generated_pairs(builder, parts):
    import tensorflow_datasets as tfds

    assert builder.info.full_name.startswith("phrasebook/pt_to_en/")
    for split in ("test", "free", "everyday"):
        assert builder.info.splits[split].num_examples == len(parts[split])
        examples = tfds.as_numpy(builder.as_dataset(split=split))
        pairs = [(example["pt"].decode(), example["en"].decode()) for example in examples]
        assert pairs == [(sentence.pt, sentence.en) for sentence in parts[split]]


def test_training_reads_everyday_sentences_more_often(builder, parts):
    import tensorflow_datasets as tfds

    from transformer.data.phrasebook.phrasebook_dataset_builder import EVERYDAY_TIMES, PATTERN_SHARE

    batches = tfds.as_numpy(builder.as_dataset(split="train").batch(4096))
    pairs = (pair for batch in batches for pair in zip(batch["pt"], batch["en"], strict=True))
    times = collections.Counter((source.decode(), target.decode()) for source, target in pairs)
    assert {times[sentence.pt, sentence.en] for sentence in parts["train"][::PATTERN_SHARE]} == {1}
    assert {times[sentence.pt, sentence.en] for sentence in parts["everyday_train"]} == {EVERYDAY_TIMES}
    assert len(times) == len(parts["train"][::PATTERN_SHARE]) + len(parts["everyday_train"])
    validation = builder.info.splits["validation"].num_examples
    assert validation == len(parts["validation"]) + len(parts["everyday_validation"])


def test_builder_offers_all_directions(builder):
    assert set(builder.builder_configs) == set(phrasebook.DIRECTIONS) and len(phrasebook.DIRECTIONS) == 6


SMALL = """
import sys
from transformer.data import phrasebook
phrasebook.generate = lambda split: [phrasebook.Sentence("Oi.", "Hi.", f"你好{n}。", split) for n in range(8)]
print(phrasebook.load_builder("zh_to_pt", sys.argv[1]).info.splits["test"].num_examples)
"""


@pytest.mark.slow  # both prepare the whole phrasebook
def test_two_processes_prepare_at_once(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    command = [sys.executable, "-c", SMALL, str(tmp_path)]
    running = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for process in running:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        assert output.split() == ["8"]
    assert [path.name for path in tmp_path.glob("phrasebook/zh_to_pt/*")] == ["1.0.0"]


def test_stale_data_are_replaced(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    sentences = [phrasebook.Sentence("Oi.", f"Hi {number}.", "你好。", "greeting") for number in range(7)]
    for digest, size in (("old", 3), ("old", 5), ("new", 7)):
        monkeypatch.setattr(phrasebook, "digest", lambda digest=digest: digest)
        monkeypatch.setattr(phrasebook, "generate", lambda split, size=size: sentences[:size])
        found = phrasebook.load_builder("en_to_zh", str(tmp_path)).info.splits["test"].num_examples
        # The second call finds the data of the first.
        assert found == {"old": 3, "new": 7}[digest]
