"""Configuration: what is the default, what overrides what, and what is refused with which words."""

import dataclasses
import json
from pathlib import Path

import pytest

import transformer.config.tasks
from transformer.commands import train
from transformer.config.flags import resolve
from transformer.config.presets import DEFAULT_CONFIG, PRESETS, preset, read_config
from transformer.config.run import Config
from transformer.config.settings import DEFAULT_RUN, DataConfig, ModelConfig, SearchConfig, TextConfig, TrainingConfig
from transformer.config.tasks import (
    SETTINGS,
    DenoisingSettings,
    LanguageModelSettings,
    MaskedLMSettings,
    TranslationSettings,
    register_settings,
)
from transformer.system.errors import UserError


def failure(call, *arguments):
    with pytest.raises(UserError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def written(tmp_path, text):
    path = tmp_path / "experiment.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_those_of_the_papers():
    config = Config()
    # Vaswani et al. 2017, sections 5.3, 5.4 and 6.1; the search is that of fairseq, OpenNMT and CTranslate2.
    assert (config.training.beta_1, config.training.beta_2, config.training.epsilon) == (0.9, 0.98, 1e-9)
    assert (config.training.warmup_steps, config.training.label_smoothing) == (4000, 0.1)
    assert config.training.schedule == "noam"
    assert (config.model.dropout_rate, config.model.norm_first) == (0.1, False)
    assert (config.search.beam_size, config.search.max_extra_length) == (4, 50)
    assert (config.search.penalty, config.search.length_penalty, config.search.finished) == ("length", 1.0, "leave")


@pytest.mark.parametrize(
    "name, sizes",
    [
        ("tiny", (4, 128, 4, 256, 0.1)),
        ("tutorial", (4, 128, 8, 512, 0.1)),
        ("base", (6, 512, 8, 2048, 0.1)),  # Vaswani et al. 2017, Table 3
        ("big", (6, 1024, 16, 4096, 0.3)),
        ("bert-mini", (4, 256, 4, 1024, 0.1)),  # Turc et al. 2019, Table 1
    ],
)
def test_presets_have_the_published_sizes(name, sizes):
    model = preset(name).model
    assert (model.num_layers, model.d_model, model.num_heads, model.dff, model.dropout_rate) == sizes


def test_presets_carry_task_and_training():
    for name, steps in (("tiny", 20_000), ("tutorial", 20_000), ("base", 100_000), ("big", 300_000)):  # Table 3
        config = preset(name)
        assert config.training == dataclasses.replace(Config().training, max_steps=steps)
        assert PRESETS[name]["task"] == {"name": "translation"} and config.task == TranslationSettings()


def test_a_preset_of_an_encoder_is_a_whole_recipe():
    config = preset("bert-mini")
    assert config.task == MaskedLMSettings() and config.text.tokenizer == "wordpiece"
    assert (config.model.activation, config.model.positions, config.model.norm_first) == ("gelu", "learned", False)
    training = config.training  # Devlin et al. 2019, appendix A.2
    assert (training.beta_1, training.beta_2, training.weight_decay) == (0.9, 0.999, 0.01)
    assert (training.schedule, training.label_smoothing) == ("linear", 0.0)


def test_every_preset_is_covered_and_the_default_is_the_tutorial():
    assert set(PRESETS) == {"tiny", "tutorial", "base", "big", "bert-mini"}
    assert preset("tutorial") == Config()


def test_flags_override_a_file_which_overrides_a_preset_which_overrides_defaults(tmp_path):
    path = written(tmp_path, 'preset = "base"\n[model]\ndff = 1024\n[training]\nseed = 5\nmax_steps = 10\n')
    config = read_config(path).override({"training": {"max_steps": 20}})
    assert config.model.d_model == 512  # preset
    assert config.model.dff == 1024  # file over preset
    assert (config.training.seed, config.training.max_steps) == (5, 20)  # file; flag over file
    assert config.training.warmup_steps == 4000  # default


def test_override_changes_nothing_else_and_leaves_the_original_alone():
    config = Config()
    changed = config.override({"model": {"num_layers": 2}, "search": {"beam_size": 1}})
    assert config == Config()
    assert changed == dataclasses.replace(config, model=ModelConfig(num_layers=2), search=SearchConfig(beam_size=1))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"modell": {}}, ["unknown section 'modell'", "Did you mean 'model'?"]),
        ({"model": {"d_modell": 1}}, ["unknown key 'd_modell' in [model]", "Did you mean 'd_model'?"]),
        ({"training": {"learning_rate": 0.1}}, ["unknown key 'learning_rate'", "Did you mean 'peak_learning_rate'?"]),
        ({"model": {"zzzzz": 1}}, ["unknown key 'zzzzz'"]),
        ({"model": 3}, ["'model' must be a section", "3"]),
        ({"model": {"num_layers": "2"}}, ["model.num_layers must be of type int", "'2'"]),
        ({"model": {"num_layers": 2.0}}, ["model.num_layers must be of type int", "2.0"]),
        ({"model": {"num_layers": True}}, ["model.num_layers must be of type int", "True"]),
        ({"model": {"norm_first": 1}}, ["model.norm_first must be of type bool"]),
        ({"data": {"cache": None}}, ["data.cache must be of type str", "None"]),
        ({"data": {"train": 7}}, ['data.train must be a list of texts such as ["a", "b"]', "got 7"]),
        ({"data": {"train": ["a", 1]}}, ["data.train must be a list of texts", "got ['a', 1]"]),
        ({"data": {"source": "a"}}, ["unknown key 'source' in [data]", 'now data.train = ["a.en", "a.de"]']),
        (
            {"training": {"validation_bleu_pairs": 1}},
            ["It is now training.score_examples"],
        ),
        ({"task": {"name": "translatoin"}}, ["unknown task 'translatoin'", "'translation'?", "--task FILE:CLASS"]),
        ({"task": {"name": 3}}, ["unknown task 3"]),
        ({"task": {"source_langauge": "en"}}, ["unknown key 'source_langauge' in [task]", "'source_language'?"]),
        ({"training": {"clip_norm": "1"}}, ["training.clip_norm must be of type float"]),
        ({"training": {"max_minutes": float("inf")}}, ["training.max_minutes must be a finite number", "inf"]),
        ({"training": {"peak_learning_rate": float("nan")}}, ["peak_learning_rate must be a finite number", "nan"]),
        ({"search": {"top_k": 2**31}}, ["search.top_k must be below 2^31", "2147483648"]),
        ({"training": {"clip_norm": 10**400}}, ["training.clip_norm must be below 2^31"]),
        ({"model": {"num_heads": 3}}, ["[model] d_model must be a multiple of num_heads=3", "128"]),
        ({"data": {"max_tokens": 600, "batch_tokens": 600}}, ["max_tokens must be at most model.max_positions=512"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_origin(changes, words):
    message = failure(Config().override, changes, "run.toml")
    assert message.startswith("run.toml: ")
    for word in words:
        assert word in message


def test_a_far_off_name_gets_no_suggestion():
    assert "Did you mean" not in failure(Config().override, {"model": {"zzzzz": 1}})


def test_an_integer_is_taken_where_a_float_is_wanted():
    training = Config().override({"training": {"clip_norm": 2}}).training
    assert training.clip_norm == 2.0 and type(training.clip_norm) is float


def test_padding_may_not_reach_behind_the_last_position():
    # 30 tokens are padded to a multiple of 4, which is 32.
    fitting = {"model": {"max_positions": 32}, "data": {"max_tokens": 30, "length_step": 4}}
    assert Config().override(fitting).data.max_tokens == 30
    message = failure(Config().override, {**fitting, "model": {"max_positions": 31}})
    assert "max_positions=31" in message and "length_step=4" in message and message.endswith("got 30")


@pytest.mark.parametrize(
    "make, name, bad",
    [
        (ModelConfig, "num_layers", [0, -1]),
        (ModelConfig, "dff", [0]),
        (ModelConfig, "max_positions", [0, 16385]),
        (ModelConfig, "dropout_rate", [-0.1, 1.0, 1.5]),
        (ModelConfig, "attention_dropout_rate", [1.0]),
        (ModelConfig, "feed_forward_dropout_rate", [-1.0]),
        (ModelConfig, "embeddings", ["tied", ""]),
        (ModelConfig, "norm", ["batch"]),
        (ModelConfig, "norm_epsilon", [0.0]),
        (ModelConfig, "num_kv_heads", [-1, 3]),
        (ModelConfig, "rotary_base", [0.0]),
        (LanguageModelSettings, "documents", ["page"]),
        (LanguageModelSettings, "validation_share", [0.0, 1.0]),
        (LanguageModelSettings, "language", ["fr"]),
        (MaskedLMSettings, "documents", ["page"]),
        (MaskedLMSettings, "sentences", ["page", "paragraph"]),  # the default, a line, is a document
        (MaskedLMSettings, "document_sentences", [-1, 1]),
        (MaskedLMSettings, "validation_share", [0.0, 1.0]),
        (MaskedLMSettings, "language", ["fr"]),
        (MaskedLMSettings, "mask_rate", [0.0, 1.0]),
        (MaskedLMSettings, "segments", [0, 1, 65]),  # with next sentences there are two
        (DenoisingSettings, "mask_rate", [-0.1, 1.1]),
        (DenoisingSettings, "permute_rate", [1.5]),
        (DenoisingSettings, "span_length", [0.5]),
        (DenoisingSettings, "sentinels", [1, 1001]),
        (DenoisingSettings, "documents", ["page"]),
        (DenoisingSettings, "language", ["fr"]),
        (TextConfig, "tokenizer", ["bpe"]),
        (TextConfig, "model_type", ["char"]),
        (TextConfig, "vocabulary_size", [299, -5]),
        (TextConfig, "sample_size", [0]),
        (DataConfig, "max_tokens", [0]),
        (DataConfig, "batch_tokens", [0, 127]),  # the longest pair must fit: max_tokens is 128
        (DataConfig, "length_step", [0]),
        (DataConfig, "shuffle_buffer", [0]),
        (DataConfig, "validation_pairs", [0]),
        (TrainingConfig, "seed", [-1, 2**31]),
        (TrainingConfig, "max_steps", [0]),
        (TrainingConfig, "max_minutes", [-1.0]),
        (TrainingConfig, "schedule", ["constant"]),
        (TrainingConfig, "warmup_steps", [0]),
        (TrainingConfig, "learning_rate_floor", [-0.1, 1.0]),
        (TrainingConfig, "beta_2", [1.0]),
        (TrainingConfig, "epsilon", [0.0]),
        (TrainingConfig, "clip_norm", [-1.0]),
        (TrainingConfig, "label_smoothing", [1.0]),
        (TrainingConfig, "averaging", [1.0]),
        (TrainingConfig, "validate_every", [0]),
        (TrainingConfig, "log_every", [0]),
        (TrainingConfig, "weight_decay", [-0.1]),
        (TrainingConfig, "accumulate", [0]),
        (TrainingConfig, "precision", ["float64", "fp16"]),
        (TrainingConfig, "average_checkpoints", [-1]),
        (TrainingConfig, "average_which", ["first"]),
        (TrainingConfig, "bad_steps", ["ignore"]),
        (TrainingConfig, "select_by", ["bleu"]),
        (TrainingConfig, "patience", [-1]),
        (TrainingConfig, "save_every", [-1]),
        (SearchConfig, "beam_size", [0, 65]),
        (SearchConfig, "length_penalty", [-0.1, 11.0]),
        (SearchConfig, "max_length", [-1]),
        (SearchConfig, "max_extra_length", [-1]),
        (SearchConfig, "no_repeat_ngram", [-1, 101]),
        (SearchConfig, "batch_tokens", [0, 65537]),
        (SearchConfig, "min_p", [-0.1, 1.1]),
        (SearchConfig, "typical_p", [0.0, 1.1]),
        (SearchConfig, "repetition_penalty", [0.0, 11.0]),
    ],
)
def test_a_value_out_of_range_is_named_with_the_rule(make, name, bad):
    for value in bad:
        with pytest.raises(ValueError, match=f"^{name} must be .*got {value!r}$"):
            make(**{name: value})


@pytest.mark.parametrize(
    "rates, told",
    [
        (
            {"mask_rate": 0.5, "delete_rate": 0.3},
            "mask_rate + delete_rate + infill_rate + sentinel_rate must be at most 1, as a token has one fate, got 1.1",
        ),
        (
            {"sentinel_rate": 0.15},
            "sentinel_rate must be 0 unless mask_rate, delete_rate and infill_rate are, as the spans alone are its "
            "target, got 0.15",
        ),
        ({"infill_rate": 0.0}, "one of the rates must be above 0: without noise there is nothing to restore, got 0"),
    ],
)
def test_noise_rates_that_do_not_go_together_are_told_in_one_line(rates, told):
    message = failure(Config().override, {"task": {"name": "denoising", **rates}})
    assert message == f"config: [task] {told}"


def test_noise_rates_may_sum_to_one():
    for rates in ({"mask_rate": 0.6, "delete_rate": 0.1}, {"infill_rate": 0.0, "sentinel_rate": 1.0}):
        Config().override({"task": {"name": "denoising", **rates}})


@pytest.mark.parametrize("config", [Config(), preset("big"), Config().override({"data": {"train": ["données/é.txt"]}})])
def test_json_round_trip(config):
    text = config.to_json()
    assert Config.from_json(text) == config
    assert json.loads(text) == config.to_dict()


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "is not valid JSON"),
        ("", "is not valid JSON"),
        ("[]", "must hold an object of sections"),
        ('{"model": []}', "must be a section of keys"),
        ('{"model": {"heads": 4}}', "unknown key 'heads' in [model]. Did you mean 'num_heads'? Another version"),
        ('{"training": {"clip_norm": NaN}}', "must be a finite number"),
    ],
)
def test_a_bad_json_config_is_refused(text, words):
    message = failure(Config.from_json, text, "RUN/config.json")
    assert message.startswith("RUN/config.json") and words in message


def test_an_unknown_preset_suggests_the_nearest():
    message = failure(preset, "bgi")
    assert "unknown preset 'bgi'" in message and "Did you mean 'big'?" in message and "tutorial" in message


def test_toml_is_read_with_comments_and_without_a_preset(tmp_path):
    path = written(tmp_path, '# what\n[data]\ntrain = ["a.tsv"] # why\n[model]\nnorm_first = true\ndropout_rate = 0\n')
    expected = {"data": {"train": [str(tmp_path / "a.tsv")]}, "model": {"norm_first": True, "dropout_rate": 0.0}}
    assert read_config(path) == Config().override(expected)


def test_file_names_of_a_config_lie_beside_it_or_in_the_named_folder(tmp_path):
    path = written(tmp_path, '[data]\ntrain = ["a.pt", "/far/a.en"]\ntest = ["b.tsv"]\n')
    beside, named = read_config(path).data, read_config(path, "elsewhere").data
    assert beside.train == (str(tmp_path / "a.pt"), "/far/a.en")
    assert named.train == ("elsewhere/a.pt", "/far/a.en")
    assert (beside.test, beside.valid, beside.dataset) == ((str(tmp_path / "b.tsv"),), (), "")
    assert read_config(str(path)) == read_config(path)


@pytest.mark.parametrize(
    "text, words",
    [
        ("[model\n", ["is not valid TOML"]),
        ("[model]\nd_modl = 4\n", ["experiment.toml: unknown key 'd_modl'", "'d_model'"]),
        ("[model]\nd_model = '4'\n", ["experiment.toml: model.d_model must be of type int"]),
        ('preset = "tine"\n', ["unknown preset 'tine'", "Did you mean 'tiny'?"]),
        ('preset = ""\n', ["unknown preset ''"]),
        ("preset = 0\n", ["experiment.toml: preset must be a name in quotes, got 0"]),
        ("preset = ['tiny']\n", ["preset must be a name in quotes"]),
        ("seed = 4\n", ["unknown section 'seed'"]),
    ],
)
def test_a_bad_config_file_is_refused(tmp_path, text, words):
    message = failure(read_config, written(tmp_path, text))
    for word in words:
        assert word in message


def test_a_config_file_that_cannot_be_read_is_refused(tmp_path):
    assert "No such file" in failure(read_config, tmp_path / "missing.toml")
    assert "directory" in failure(read_config, tmp_path)
    path = tmp_path / "latin.toml"
    path.write_bytes(b"# caf\xe9\n")
    assert str(path) in failure(read_config, path)


def test_what_flags_ask_for(tmp_path):
    path = written(tmp_path, '[model]\ndff = 1024\n[data]\ntrain = ["mine.tsv"]\n')

    def asked(*words):
        return resolve(train.parser().parse_args(words))

    assert asked() == (read_config(DEFAULT_CONFIG), Path(DEFAULT_RUN))
    config, run = asked("--tsv", "a/pairs.tsv.gz", "--seed", "5")  # another corpus, with the default sizes
    assert config == Config().override({"data": {"train": ["a/pairs.tsv.gz"]}, "training": {"seed": 5}})
    assert run == Path("runs/pairs")
    config, run = asked("--preset", "tiny")
    assert (config.model, config.data.dataset, run) == (preset("tiny").model, "phrasebook/pt_to_en", Path(DEFAULT_RUN))
    config, run = asked("--config", str(path), "--data", "b", "--run", "c")
    assert (config.model.dff, config.data.train, run) == (1024, ("b/mine.tsv",), Path("c"))
    assert asked("--config", str(path))[1] == Path("runs/experiment")
    with pytest.raises(UserError, match="--data names the folder of a config's files"):
        asked("--data", "b")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--dataset", "a", "--tsv", "b"),
            "give one source only: --dataset NAME, or --source F --target F, or",
        ),
        (("--source", "a", "--target", "b", "--tsv", "c"), "give one source only"),
        (("--source", "a"), "--source a needs --target beside it"),
        (("--target", "b"), "--target b needs --source beside it"),
        (("--tsv", "c", "--valid-source", "d"), "--valid-source d needs --valid-target beside it"),
        (("--valid-source", "d", "--valid-target", "e"), "--valid-source and --valid-target go with --source and"),
    ],
)
def test_contradicting_flags_of_a_corpus(flags, message):
    assert failure(resolve, train.parser().parse_args(flags)).startswith(message)


def set_by(*words):
    return resolve(train.parser().parse_args([part for word in words for part in ("--set", word)]))[0]


@pytest.mark.parametrize(
    ("word", "section", "key", "value"),
    [
        ("training.seed=3", "training", "seed", 3),
        ("training.peak_learning_rate=1e-3", "training", "peak_learning_rate", 0.001),
        ("training.peak_learning_rate = 2", "training", "peak_learning_rate", 2.0),
        ("model.norm_first=true", "model", "norm_first", True),
        ("model.positions=rotary", "model", "positions", "rotary"),  # a bare word is text
        ("model.positions='rotary'", "model", "positions", "rotary"),
        ('model.positions="rotary"', "model", "positions", "rotary"),
        ("data.cache=/a b=c", "data", "cache", "/a b=c"),
        ("data.cache=", "data", "cache", ""),
        ("data.cache=1\nb = 2", "data", "cache", "1\nb = 2"),  # which TOML takes for two keys
        ('data.train=["a.en", "a.de"]', "data", "train", ("a.en", "a.de")),
        ("task.source_language=en", "task", "source_language", "en"),
    ],
)
def test_set_gives_any_setting(word, section, key, value):
    assert getattr(getattr(set_by(word), section), key) == value


def test_set_stands_above_file_and_preset_and_its_last_word_counts(tmp_path):
    path = written(tmp_path, 'preset = "base"\n[training]\nseed = 5\nwarmup_steps = 7\n')
    words = ["--config", str(path), "--set", "training.seed=6", "--set", "training.seed=8", "--set", "model.dff=96"]
    config, _ = resolve(train.parser().parse_args(words))
    assert (config.training.seed, config.training.warmup_steps) == (8, 7)
    assert (config.model.dff, config.training.max_steps) == (96, 100_000)


def test_set_of_a_corpus_replaces_that_of_the_config_wholly(tmp_path):
    config = set_by('data.train=["a.tsv"]')  # not the phrasebook, whose config would be read
    assert config == Config().override({"data": {"train": ["a.tsv"]}})
    path = written(tmp_path, '[data]\ntrain = ["mine.tsv"]\nvalid = ["valid.tsv"]\n')
    words = ["--config", str(path), "--set", "data.dataset=phrasebook/en_to_pt"]
    data = resolve(train.parser().parse_args(words))[0].data
    assert (data.dataset, data.train, data.valid) == ("phrasebook/en_to_pt", (), ())
    data = resolve(train.parser().parse_args(["--config", str(path), "--set", "data.valid=[]"]))[0].data
    assert (data.train, data.valid) == ((str(tmp_path / "mine.tsv"),), ())


def test_what_another_task_loses_of_a_config_is_told(tmp_path, capsys):
    path = tmp_path / "a.toml"
    path.write_text('[task]\nname = "masked-lm"\nmask_rate = 0.3\nlower_case = true\n', encoding="utf-8")
    for words in (["--config", str(path)], ["--config", str(path), "--task", "language-model"]):
        resolve(train.parser().parse_args([*words, "--train", "a.txt"]))
    told = f"{path}: its [task] is of masked-lm, and --task language-model leaves out lower_case, mask_rate"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {told}; write name = 'language-model'")


def test_one_text_is_a_list_of_one():
    assert Config().override({"data": {"train": "a.tsv"}}).data.train == ("a.tsv",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "training.peak_lr=1"], "--set: unknown key 'peak_lr' in [training]. Did you mean 'peak_learning_ra"),
        (["--set", "trainng.seed=1"], "--set: unknown section 'trainng'. Did you mean 'training'?"),
        (["--set", "training.seed=x"], "--set: training.seed must be of type int, got 'x'"),
        (["--set", "training.seed=-1"], "--set: [training] seed must be at least 0"),
        (["--set", "data.train=7"], '--set: data.train must be a list of texts such as ["a", "b"], got'),
        (
            ["--set", "warmup_steps=1"],
            "--set takes SECTION.KEY=VALUE, such as training.seed=2, got 'warmup_steps=1'. Did "
            "you mean training.warmup_steps?",
        ),
        (["--set", "training.seed"], "--set takes SECTION.KEY=VALUE, such as training.seed=2, got 'training.seed'."),
        (["--set", "training.seed=1", "--seed", "1"], "--set training.seed and a flag of its own give one setting tw"),
        (["--set", "data.train=['a']", "--tsv", "b"], "--set data.train and a flag of its own give one setting twice"),
        (["--set", "task.name=translatoin"], "--set: unknown task 'translatoin'. Did you mean 'translation'?"),
        (["--task", "translatoin"], "command line: unknown task 'translatoin'. Did you mean 'translation'?"),
        (["--set", "training.seed=" + "[" * 9000], "--set: training.seed must be of type int"),
    ],
)
def test_what_is_wrong_with_set_is_one_line_and_wrong_usage(words, message, capsys):
    assert train.main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}") and err.count("\n") == 1


def test_flags_of_files_fill_the_lists_and_the_task():
    words = "--source a.pt --target a.en --valid-source b.pt --valid-target b.en --source-language pt"
    config, _ = resolve(train.parser().parse_args(words.split()))
    assert (config.data.train, config.data.valid) == (("a.pt", "a.en"), ("b.pt", "b.en"))
    assert config.task == TranslationSettings(source_language="pt")


def test_a_users_own_task_brings_its_own_keys(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Settings:
        name: str = "counting"
        most: int = 3

    monkeypatch.setattr("transformer.config.tasks.SETTINGS", dict(SETTINGS))
    monkeypatch.setattr("transformer.config.run.SETTINGS", transformer.config.tasks.SETTINGS)
    register_settings("counting", Settings)
    config = Config().override({"task": {"name": "counting"}})
    assert config.task == Settings()
    changed = config.override({"task": {"most": 5}})  # it stays that task
    assert changed.task == Settings(most=5)
    assert Config.from_json(changed.to_json()) == changed
    assert "in [task]" in failure(changed.override, {"task": {"source_language": "en"}})
    for wrong in (object, dataclasses.make_dataclass("Other", [("name", str, "other")])):
        with pytest.raises(ValueError, match="a dataclass that begins with name: str = 'counting'"):
            register_settings("counting", wrong)


@pytest.mark.parametrize(
    "content, word",
    [
        ("a = " + "[" * 100_000, "is nested too deeply"),
        ("[model]\nd_model = " + "[" * 300 + "]" * 300, "model.d_model must be of type int"),
        ("[model]\nd_model" + ".a" * 900 + " = 1", "model.d_model must be of type int"),
        (
            "[model]\nd_model = 0x" + "f" * 100_000,
            "model.d_model must be below 2^31, got a number of thousands of digits",
        ),
        ("[model]\nd_model = 1" + "0" * 100_000, "is not valid TOML"),
        ("[model]\nd_model = 2026-01-01", "model.d_model must be of type int, got datetime.date(2026, 1, 1)"),
        ("[training]\nepsilon = nan", "training.epsilon must be a finite number"),
        ("[model]\n" + "k" * 900_000 + " = 1", "unknown key"),
        ('preset = ["' + "x" * 900_000 + '"]', "preset must be a name in quotes"),
        ('[data]\ncache = "\\ud800"', "is not valid TOML"),
        (" " * 2_000_000, "is longer than 1,000,000 bytes"),
        ("\udcff", "is not valid TOML"),
    ],
    ids=lambda value: value[:20],
)
def test_config_files_that_are_none(tmp_path, content, word):
    path = tmp_path / "a.toml"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError) as error:
        read_config(path)
    assert word in str(error.value) and "a.toml" in str(error.value) and len(str(error.value)) < 1000


def test_endless_config_files_are_not_read_to_their_end():
    with pytest.raises(UserError, match="/dev/zero is longer than"):
        read_config("/dev/zero")


def test_names_that_no_file_can_hold():
    """What the command line makes of a file name of odd bytes; config.json could not be written with it."""
    with pytest.raises(UserError, match="data.train must be text that UTF-8 can hold"):
        Config().override({"data": {"train": ["a\udcff"]}})


@pytest.mark.parametrize("temperature", [1e-38, 9e-4, -1.0, 10.5])
def test_temperatures_that_float32_cannot_divide_by(temperature):
    with pytest.raises(UserError, match=r"temperature must be 0 or from 0\.001 to 10"):
        Config().override({"search": {"temperature": temperature}})
    for good in (0.0, 1e-3, 10.0):
        Config().override({"search": {"temperature": good}})


def test_a_search_may_keep_4_gigabytes_of_a_sentence():
    big = {"num_layers": 6, "d_model": 1024, "num_heads": 16, "max_positions": 2**14}  # 12,288 numbers of a token
    Config().override({"model": big, "search": {"beam_size": 5}})  # 2^30 / (12,288 * 16,384) = 5.3
    with pytest.raises(UserError, match=r"search\.beam_size must be at most 5 .* got 6"):
        Config().override({"model": big, "search": {"beam_size": 6}})
    Config().override({"model": big, "search": {"beam_size": 64, "max_length": 1000}})


@pytest.mark.parametrize(
    "flags, task",
    [
        (["--train", "a.txt"], "denoising"),
        (["--source", "a.en", "--target", "a.de"], "translation"),
        (["--tsv", "a.tsv"], "translation"),
        (["--tsv", "a.tsv", "--task", "translation"], "translation"),
    ],
)
def test_a_run_that_starts_from_another_goes_on_with_its_task_unless_pairs_are_given(tmp_path, flags, task):
    stored = Config().override({"task": {"name": "denoising", "mask_rate": 0.2}, "model": {"d_model": 64}})
    (tmp_path / "config.json").write_text(stored.to_json(), encoding="utf-8")
    config, _ = resolve(train.parser().parse_args(["--init-from", str(tmp_path), *flags]))
    assert config.task.name == task and config.model.d_model == 64
    assert config.task == stored.task or task == "translation"
