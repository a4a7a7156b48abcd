"""Denoising: what is read and written, the vocabulary, and weights that go to translation and come from it."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_run import WORDS, denoising, pairs, tiny_config, write_corpus, write_run

from transformer.checkpoints.arrays import model_variables
from transformer.checkpoints.run_directory import RunDirectory
from transformer.config.settings import TextConfig
from transformer.data.tokenizers.learning import train_denoising, train_tokenizers
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.ids import MASK_ID, PAD_ID, UNKNOWN_ID
from transformer.inference.translator import Translator
from transformer.system.errors import UserError
from transformer.tasks.denoising import Denoising
from transformer.training.preparation import prepare_new_run, stored_rows
from transformer.training.starting_weights import start_from
from transformer.training.trainer import train

SENTENCES = [sentence for pair in pairs(200) for sentence in pair]
NOTHING = {"infill_rate": 0.0, "mask_rate": 0.0, "delete_rate": 0.0, "rotate_rate": 0.0}


@pytest.fixture(scope="module")
def vocabulary():
    """A vocabulary with a mask and four sentinels."""
    return train_denoising(SENTENCES, TextConfig(vocabulary_size=330), 4)


def task_of(folder, vocabulary, task, data=None):
    config = denoising(folder, task={"name": "denoising", **NOTHING, **task}, data=data or {})
    return Denoising(config, vocabulary, {"name": "texts"})


def refused(call, *arguments):
    with pytest.raises(UserError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_mask_and_sentinels_follow_the_reserved_ids_and_a_text_can_spell_them(vocabulary):
    tokenizer = vocabulary.source
    assert vocabulary.joint and tokenizer.masks and tokenizer.sentinels == 4
    assert tokenizer.pieces(range(3, 9)) == ["</s>", "[MASK]", *(f"<extra_id_{i}>" for i in range(4))]
    plain, marked = tokenizer.tokenize(["sun sea", "sun [MASK] sea <extra_id_2>"]).to_list()
    assert marked == [*plain[:1], MASK_ID, *plain[1:], MASK_ID + 3] and len(plain) == 2
    texts = tokenizer.detokenize(tf.ragged.constant([marked, plain])).numpy().tolist()
    assert texts == [b"sun[MASK] sea<extra_id_2>", b"sun sea"]


def test_vocabularies_without_mask_have_no_sentinels():
    tokenizer = train_tokenizers(lambda: iter(pairs(50)), TextConfig(vocabulary_size=300)).source
    assert not tokenizer.masks and tokenizer.sentinels == 0


def test_every_kind_of_noise_has_its_share_of_the_tokens_of_the_text(tmp_path, vocabulary):
    """Bounds are four standard deviations of binomial shares."""
    rates = {"infill_rate": 0.3, "mask_rate": 0.2, "delete_rate": 0.1}
    task = task_of(tmp_path, vocabulary, {**rates, "span_length": 3.0}, {"max_tokens": 24})
    rows, words = 2000, 20
    ids = np.tile(np.arange(100, 100 + words, dtype=np.int32), (rows, 1))
    source, target = (part.numpy() for part in task.noised(tf.constant(ids), tf.constant([1, 2], tf.int64)))
    np.testing.assert_array_equal(target, ids)
    kept = (source >= 100).sum() / ids.size
    assert abs(kept - 0.4) < 4 * (0.4 * 0.6 / ids.size) ** 0.5
    # All masks, but those that masking alone puts there, stand for spans: it has 20 % of the tokens.
    alone = task_of(tmp_path, vocabulary, {**rates, "mask_rate": 0.0, "span_length": 3.0}, {"max_tokens": 24})
    spans = alone.noised(tf.constant(ids), tf.constant([1, 2], tf.int64))[0].numpy()  # the same spans
    masked = ((source == MASK_ID).sum() - (spans == MASK_ID).sum()) / ids.size
    assert abs(masked - 0.2) < 4 * (0.2 * 0.8 / ids.size) ** 0.5


def test_with_sentinels_the_target_is_the_spans(tmp_path, vocabulary):
    task = task_of(tmp_path, vocabulary, {"sentinel_rate": 0.3, "span_length": 2.0})
    ids = tf.constant([[*range(100, 110), PAD_ID]])  # three tokens in one span or two
    for number in range(20):
        source, target = (part.numpy()[0] for part in task.noised(ids, tf.constant([1, number], tf.int64)))
        source, target = source[source > 0].tolist(), target[target > 0].tolist()
        sentinels = [i for i in target if i < 100]
        assert sentinels == list(range(MASK_ID + 1, MASK_ID + 1 + len(sentinels)))
        assert [i for i in source if i < 100] == sentinels[:-1] and target[-1] == sentinels[-1]
        assert sorted(i for i in source + target if i >= 100) == list(range(100, 110))
        assert len([i for i in target if i >= 100]) == 3 and target[0] == MASK_ID + 1


@pytest.mark.parametrize(
    "rates", [{"infill_rate": 0.9, "span_length": 1.0}, {"sentinel_rate": 0.9, "span_length": 1.0}]
)
def test_no_row_is_longer_than_max_tokens(tmp_path, vocabulary, rates):
    task = task_of(tmp_path, vocabulary, rates, {"max_tokens": 12})
    rows = task.encode([" ".join(WORDS.values()) * 5])
    assert max(rows.columns["tokens"][1]) <= 12 - task.framing
    record = {"tokens": tf.RaggedTensor.from_row_lengths(*rows.columns["tokens"])}
    for number in range(20):
        batch = task.batch(record, tf.constant([1, number], tf.int64))
        assert all(feature.shape[1] <= 12 for feature in batch.values())


def test_long_texts_are_cut_into_rows_of_like_length_and_empty_ones_left_out(tmp_path, vocabulary):
    task = task_of(tmp_path, vocabulary, {"mask_rate": 0.5}, {"max_tokens": 12})
    text = " ".join(["sun"] * 25)
    values, lengths = task.encode([text, "", "sea"]).columns["tokens"]
    ids = vocabulary.source.tokenize([text, "sea"]).flat_values.numpy()
    assert lengths.tolist() == [8, 8, 9, 1] and values.tolist() == ids.tolist()


def translator_config(folder, init_from=""):
    text = {"vocabulary_size": 320}
    return tiny_config(folder, write_corpus(folder, 60), text=text, training={"init_from": str(init_from)})


def test_weights_and_vocabulary_go_to_translation_and_are_named(tmp_path, vocabulary):
    task = task_of(tmp_path, vocabulary, {"infill_rate": 0.3})
    network = task.network("float32")
    run = RunDirectory(write_run(tmp_path / "denoised", task.config, vocabulary, network))
    config = translator_config(tmp_path, run.path)
    data = prepare_new_run(config, RunDirectory(tmp_path / "new"), lambda _: None)
    assert data.task.vocabularies.fingerprint() == vocabulary.fingerprint()
    other, said = data.task.network("float32"), []
    start_from(run, other, said.append)
    ours, theirs = model_variables(other), model_variables(network)
    assert said == [f"from {run.path}: {len(ours)} weights loaded"]
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name].numpy(), theirs[name].numpy())
    assert any("encoder" in name for name in ours) and any("decoder" in name for name in ours)


def test_a_translator_can_start_denoising_with_the_unknown_token_as_the_mask(tmp_path):
    pair = train_tokenizers(lambda: iter(pairs(60)), TextConfig(vocabulary_size=300))
    task = task_of(tmp_path, pair, {"mask_rate": 1.0})
    assert task.mask_id == UNKNOWN_ID and "it has no [MASK], the unknown token stands for it" in task.describe()
    source, _ = task.noised(tf.constant([[100, 101, 0]]), tf.constant([1, 1], tf.int64))
    assert source.numpy().tolist() == [[UNKNOWN_ID, UNKNOWN_ID, PAD_ID]]
    message = refused(task_of, tmp_path, pair, {"sentinel_rate": 0.3})
    assert "this run's vocabulary has no sentinels; set task.sentinel_rate = 0" in message


def test_vocabularies_that_do_not_fit_are_refused(tmp_path):
    apart = train_tokenizers(lambda: iter(pairs(60)), TextConfig(vocabulary_size=300, joint=False))
    config = denoising(tmp_path, model={"embeddings": "target"})
    assert "denoising reads and writes one vocabulary" in refused(Denoising, config, apart, {})
    words = train_tokenizers(lambda: iter(pairs(60)), TextConfig(vocabulary_size=300, tokenizer="wordpiece"))
    assert "this run's tokenizer ('wordpiece') has no mask" in refused(Denoising, config, words, {})
    message = refused(train_denoising, SENTENCES, TextConfig(tokenizer="wordpiece"))
    assert "text.tokenizer 'wordpiece' has no mask for an encoder-decoder; take 'sentencepiece'" in message
    assert "there is no text to learn" in refused(train_denoising, [" "], TextConfig())


def test_separate_vocabularies_are_refused_before_training(tmp_path):
    config = denoising(tmp_path, text={"joint": False}, model={"embeddings": "target"})
    assert "set text.joint = true" in refused(Denoising.learn, Denoising.read(config), config)


def test_a_run_restores_texts_as_a_translator_that_keeps_sentences_together(tmp_path, vocabulary):
    task = task_of(tmp_path, vocabulary, {"infill_rate": 0.3})
    network = task.network("float32")
    translator = Translator.load(write_run(tmp_path / "run", task.config, vocabulary, network), engine="tensorflow")
    assert translator.search.cut == "long" and translator.encode(["sun [MASK]"])[0][-2] == MASK_ID
    (found,) = translator.translate(["sun [MASK] sea."])
    assert found[0].text == task.predict(network, ["sun [MASK] sea."])[0]


@pytest.mark.slow  # trains for 5 seconds
def test_masked_words_are_restored(tmp_path):
    """Each text is one word five times, so what is masked can be known."""
    (tmp_path / "text.txt").write_text("".join(f"{' '.join([word] * 5)}\n" for word in WORDS) * 20, encoding="utf-8")
    task = {"name": "denoising", **NOTHING, "mask_rate": 0.4}
    data = {"train": [str(tmp_path / "text.txt")], "valid": [str(tmp_path / "text.txt")]}
    recipe = {"schedule": "cosine", "peak_learning_rate": 0.01, "warmup_steps": 10, "max_steps": 150}
    cleaning = {"drop_duplicates": False}
    config = denoising(tmp_path, task=task, data=data, training=recipe, cleaning=cleaning, model={"dropout_rate": 0.0})
    train(config, tmp_path / "run")
    translator = Translator.load(tmp_path / "run")
    texts = [f"{word} [MASK] {word} {word} [MASK]" for word in WORDS]
    found = [hypotheses[0].text for hypotheses in translator.translate(texts)]
    assert found == [" ".join([word] * 5) for word in WORDS]


def test_rows_are_stored_once_and_noise_is_new_in_each_epoch(tmp_path):
    config = denoising(tmp_path)
    corpus = Denoising.read(config)
    task = Denoising(config, Denoising.learn(corpus, config), corpus.describe())
    assert isinstance(task.vocabularies, TokenizerPair) and not task.tokenizer.sentinels
    shards = stored_rows(corpus, "train", task)
    assert shards.rows == 216 and stored_rows(corpus, "validation", task).rows == 24  # a tenth of 240 unlike texts
