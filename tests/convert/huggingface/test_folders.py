"""Folders of transformers become runs and folders again: against GPT-2 and Llama in NumPy."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tokenizers
from hand_written_folder import (
    END,
    GPT2,
    LLAMA,
    LOGITS,
    SIZE,
    TEXTS,
    VOCABULARY,
    random_tensors,
    tokenizer,
    write_model,
)
from safetensors.numpy import load_file, save_file

from transformer.checkpoints.arrays import model_variables, save_arrays
from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.commands import convert
from transformer.config.run import Config
from transformer.convert.huggingface.runs import export_run, import_folder
from transformer.data.tokenizers.learning import train_exact
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.ids import END_ID, START_ID
from transformer.system.errors import UserError
from transformer.tasks.language_model import LanguageModel

IDS = np.array([5, 40, 256, 257, 3, 99, 261, 4, 0, 1])


def logits_of(run, ids=IDS):
    """Return the logits of a run for their ids, as they number them, and what its unused ids have at most."""
    task, network = load(RunDirectory(run))
    ours = task.tokenizer._ours[ids]
    logits = network(tf.constant(ours[np.newaxis]), False)[0].numpy()
    theirs = task.tokenizer.theirs
    found = np.empty((len(ids), task.tokenizer.size), np.float32)
    found[:, theirs[theirs >= 0]] = logits[:, theirs >= 0]
    return found, logits[:, theirs < 0]


CONFIGS = {
    "gpt2": GPT2,
    "gpt2-odd": {
        **GPT2,
        "n_inner": 12,
        "activation_function": "gelu",
        "layer_norm_epsilon": 0.1,
        "tie_word_embeddings": False,
        "scale_attn_weights": False,
        "scale_attn_by_inverse_layer_idx": True,
        "reorder_and_upcast_attn": True,
        "architectures": None,
        "n_positions": 23,
    },
    "llama": LLAMA,
    "llama-odd": {
        **LLAMA,
        "tie_word_embeddings": True,
        "mlp_bias": True,
        "hidden_act": "gelu_new",
        "rms_norm_eps": 0.1,
        "num_key_value_heads": 1,
        "pretraining_tp": 2,
        "rope_scaling": None,
        "head_dim": 4,
        "vocab_size": SIZE + 5,  # rows that no token has
    },
}


@pytest.fixture(scope="module", params=CONFIGS)
def model(request, tmp_path_factory):
    """A name, and the folder, the run and the tensors of a model of that kind."""
    config, folder = CONFIGS[request.param], tmp_path_factory.mktemp(request.param)
    tensors = random_tensors(config)
    write_model(folder / "model", config, tensors, byte_pairs=request.param == "gpt2")
    import_folder(folder / "model", folder / "run")
    return config, folder, tensors


def test_logits_are_those_of_the_formulas(model):
    config, folder, tensors = model
    found, unused = logits_of(folder / "run")
    np.testing.assert_allclose(found, LOGITS[config["model_type"]](config, tensors, IDS), rtol=1e-4, atol=1e-4)
    assert unused.shape[1] == 3 and (unused < -9000).all()  # padding, unknown and start have no probability


def test_the_way_back_gives_the_same_weights_and_settings(model):
    config, folder, tensors = model
    architecture = export_run(RunDirectory(folder / "run"), "best", folder / "back")
    assert architecture == {"gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM"}[config["model_type"]]
    back, stored = (
        load_file(folder / "back" / "model.safetensors"),
        json.loads((folder / "back/config.json").read_text()),
    )
    scaled = ".attn.c_attn." if "scale_attn_weights" in config else "nothing"
    assert {name for name in back if not name.endswith("bias")} == {n for n in tensors if not n.endswith("bias")}
    for name, array in tensors.items():
        if scaled not in name:
            np.testing.assert_array_equal(back[name], array)
    expected = LOGITS[config["model_type"]](config, tensors, IDS)
    np.testing.assert_allclose(LOGITS[config["model_type"]](stored, back, IDS), expected, rtol=1e-5, atol=1e-5)
    assert stored["eos_token_id"] == SIZE - 1 and stored["vocab_size"] == config["vocab_size"]
    import_folder(folder / "back", folder / "again")
    np.testing.assert_array_equal(logits_of(folder / "again")[0], logits_of(folder / "run")[0])


def test_what_is_honoured_in_part_is_told(tmp_path, capsys):
    config = {**LLAMA, "max_position_embeddings": 40_000, "eos_token_id": [SIZE - 1, 5]}
    import_folder(write_model(tmp_path / "model", config, random_tensors(LLAMA)), tmp_path / "run")
    place = tmp_path / "model" / "config.json"
    assert sorted(capsys.readouterr().err.splitlines()) == [
        f"warning: {place}: of eos_token_id = [{SIZE - 1}, 5] the first is taken; name the others with --stop",
        f"warning: {place}: of max_position_embeddings = 40,000 the first 16,384 are kept",
    ]


def test_ids_are_those_of_the_original(model):
    task, _ = load(RunDirectory(model[1] / "run"))
    assert task.config.data.max_tokens == task.config.model.max_positions  # windows as long as the context
    assert task.config.task.start_token is False
    original = tokenizer()
    for text, ids in zip(TEXTS, task.tokenizer.encode(TEXTS), strict=True):
        expected = original.encode(text, add_special_tokens=False).ids
        assert task.tokenizer.theirs[ids].tolist() == expected
        assert task.tokenizer.decode(ids) == text.replace(END, "")
    assert task.tokenizer.theirs[END_ID] == VOCABULARY[END]


def test_the_whole_command(tmp_path, capsys):
    """Through the command line: there, a score, and back."""
    from transformer.commands import evaluate

    folder = write_model(tmp_path / "model", GPT2, random_tensors(GPT2), chat_template="{{ messages }}")
    assert convert.main(["huggingface", str(folder), str(tmp_path / "run")]) == 0
    assert "run: 2 layers, 16 wide, 266 tokens, context 24" in capsys.readouterr().out
    (tmp_path / "text.txt").write_text("the cat\n")
    assert evaluate.main(["--task", "language-model", str(tmp_path / "run"), str(tmp_path / "text.txt")]) == 0
    ids = np.array(tokenizer().encode("the cat\n").ids + [VOCABULARY[END]])
    logits = LOGITS["gpt2"](GPT2, random_tensors(GPT2), ids)[:-1]
    log = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    total = log[np.arange(len(ids) - 1), ids[1:]].sum()
    assert f"log-probability {total:.2f} nats" in capsys.readouterr().out
    assert convert.main(["huggingface", str(tmp_path / "run"), str(tmp_path / "back"), "--export"]) == 0
    assert json.loads((tmp_path / "back/tokenizer_config.json").read_text())["chat_template"] == "{{ messages }}"
    for words in (["huggingface", str(folder), str(tmp_path / "run")], ["gguf", "missing.gguf", str(tmp_path / "new")]):
        assert convert.main(words) == 1
    told = capsys.readouterr().err
    assert "run is there already; name a new directory" in told and "there is no missing.gguf" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "model", "run", "text.txt"]


@pytest.mark.slow  # a training
def test_it_trains_on(tmp_path):
    from transformer.commands import train

    folder = write_model(tmp_path / "model", GPT2, random_tensors(GPT2))
    import_folder(folder, tmp_path / "run")
    (tmp_path / "text.txt").write_text("the cat sat on the mat\n" * 40)
    sizes = {
        "data.train": f'["{tmp_path / "text.txt"}"]',
        "data.max_tokens": 16,
        "data.batch_tokens": 64,
        "data.cache": f'"{tmp_path / "cache"}"',
        "training.peak_learning_rate": 0.003,
        "training.schedule": "linear",
        "training.warmup_steps": 1,
        "training.validate_every": 8,
    }
    words = [f"--set={name}={value}" for name, value in sizes.items()]
    words += ["--init-from", str(tmp_path / "run"), "--max-steps", "8", "--run", str(tmp_path / "tuned")]
    assert train.main(words) == 0
    tuned = RunDirectory(tmp_path / "tuned")
    assert tuned.config().task.start_token is False and tuned.config().task.name == "language-model"
    ids = np.array(tokenizer().encode("the cat sat on the mat\n").ids)
    before = LOGITS["gpt2"](GPT2, random_tensors(GPT2), ids)
    after = logits_of(tmp_path / "tuned", ids)[0]

    def loss(logits):
        log = logits[:-1] - np.log(np.exp(logits[:-1]).sum(axis=1, keepdims=True))
        return -log[np.arange(len(ids) - 1), ids[1:]].mean()

    assert loss(after) < loss(before) - 0.1
    export_run(tuned, "best", tmp_path / "back")


@pytest.mark.parametrize("kind", ["F16", "BF16", "F64"])
def test_other_types_of_numbers(kind, tmp_path):
    import ml_dtypes

    dtype = {"F16": np.float16, "BF16": ml_dtypes.bfloat16, "F64": np.float64}[kind]
    tensors = {name: array.astype(dtype) for name, array in random_tensors(LLAMA).items()}
    import_folder(write_model(tmp_path / "model", LLAMA, tensors), tmp_path / "run")
    exact = {name: array.astype(np.float32) for name, array in tensors.items()}
    expected = LOGITS["llama"](LLAMA, exact, IDS)
    np.testing.assert_allclose(logits_of(tmp_path / "run")[0], expected, rtol=1e-4, atol=1e-4)


def test_weights_in_several_files(tmp_path):
    tensors = random_tensors(GPT2)
    folder, names = write_model(tmp_path / "model", GPT2, None), sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    places = {name: file for file, part in parts.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    import_folder(folder, tmp_path / "run")
    found, _ = logits_of(tmp_path / "run")
    np.testing.assert_allclose(found, LOGITS["gpt2"](GPT2, tensors, IDS), rtol=1e-4, atol=1e-4)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match="model-00002-of-00002.safetensors is missing, which .* names"):
        import_folder(folder, tmp_path / "other")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "../../x.safetensors"}}))
    with pytest.raises(UserError, match="index.json is damaged: its weight_map must name safetensors files beside it"):
        import_folder(folder, tmp_path / "other")


def test_the_bare_model_and_the_buffers_of_old_files(tmp_path):
    """As the folder `gpt2` of the hub is: no prefix, the causal mask among the weights."""
    tensors = {name.removeprefix("transformer."): array for name, array in random_tensors(GPT2).items()}
    tensors |= {f"h.{i}.attn.bias": np.tri(24, dtype=np.float32)[np.newaxis, np.newaxis] for i in range(2)}
    tensors["lm_head.weight"] = tensors["wte.weight"]
    config = {**GPT2, "architectures": ["GPT2Model"], "n_ctx": 24, "task_specific_params": {"x": 1}}
    import_folder(write_model(tmp_path / "model", config, tensors), tmp_path / "run")
    found, _ = logits_of(tmp_path / "run")
    np.testing.assert_allclose(found, LOGITS["gpt2"](GPT2, random_tensors(GPT2), IDS), rtol=1e-4, atol=1e-4)


def test_the_hubs_cache_of_links(tmp_path):
    """snapshots/REVISION holds links into blobs; other links are refused."""
    folder = write_model(tmp_path / "cache" / "snapshots" / "abc", GPT2, random_tensors(GPT2))
    (tmp_path / "cache" / "blobs").mkdir()
    for path in list(folder.iterdir()):
        blob = tmp_path / "cache" / "blobs" / path.name
        path.rename(blob)
        path.symlink_to(f"../../blobs/{path.name}")
    import_folder(folder, tmp_path / "run")
    (folder / "tokenizer_config.json").unlink()
    (folder / "tokenizer_config.json").symlink_to("/etc/hostname")
    with pytest.raises(UserError, match="is a link to a place outside"):
        import_folder(folder, tmp_path / "other")


def test_a_start_token_that_the_tokenizer_puts_before_texts(tmp_path):
    folder = write_model(tmp_path / "model", LLAMA, random_tensors(LLAMA), add_bos_token=True)
    import_folder(folder, tmp_path / "run")
    task, _ = load(RunDirectory(tmp_path / "run"))
    assert task.config.task.start_token and task.tokenizer.theirs[START_ID] == 3
    assert task.prompt("the").tolist() == [START_ID, *task.tokenizer.encode(["the"])[0]]
    export_run(RunDirectory(tmp_path / "run"), "best", tmp_path / "back")
    assert json.loads((tmp_path / "back/config.json").read_text())["bos_token_id"] == 3
    folder = write_model(tmp_path / "gpt2", GPT2, random_tensors(GPT2), add_bos_token=True)
    with pytest.raises(UserError, match="bos_token_id = 262 cannot be honoured; a start token that is put before"):
        import_folder(folder, tmp_path / "other")


REFUSED = {
    "activation_function": ("quick_gelu", "it may be gelu_new"),
    "add_cross_attention": (True, "it may be False"),
    "is_encoder_decoder": (True, "it may be False"),
    "quantization_config": ({"bits": 4}, "the key is not known here, and may change the result"),
    "layer_norm_epsilon": ("small", "it must be of type float"),
    "n_head": (0, "it must be a size"),
}
REFUSED_LLAMA = {
    "hidden_act": ("quick_gelu", "it may be gelu_new"),
    "rope_scaling": ({"rope_type": "llama3", "factor": 8.0}, "its rope_type may not be 'llama3'"),
    "rope_parameters": ({"rope_theta": 1e4, "rope_type": "linear", "factor": 2.0}, "its rope_type may not be 'linear'"),
    "head_dim": (8, "heads must be hidden_size / num_attention_heads = 4 wide"),
    "sliding_window": (16, "the key is not known here"),
    "partial_rotary_factor": (0.5, "it may be 1"),
}


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_settings_that_cannot_be_honoured_are_refused_by_name(kind, tmp_path):
    base, refused = {"gpt2": (GPT2, REFUSED), "llama": (LLAMA, REFUSED_LLAMA)}[kind]
    folder = write_model(tmp_path / "model", base, random_tensors(base))
    for key, (value, rule) in refused.items():
        (folder / "config.json").write_text(json.dumps({**base, key: value}))
        with pytest.raises(UserError, match=f"config.json: {key} = .* cannot be honoured; {rule}"):
            import_folder(folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_models_are_refused_by_name(tmp_path):
    folder = write_model(tmp_path / "model", GPT2, random_tensors(GPT2))
    for change, told in (
        ({"model_type": "mamba"}, "model_type 'mamba' is not known; known are gpt2, llama"),
        ({"architectures": ["GPT2ForSequenceClassification"]}, "'GPT2ForSequenceClassification' is not known"),
        ({"n_embd": 18}, "d_model must be a multiple of num_heads=4, got 18"),
        ({"n_embd": 32}, "'wte.weight' has shape .263, 16., and its config wants .263, 32."),
        ({"n_layer": 3}, "has no weights 'h.2.ln_1.weight', which its config wants"),
        ({"n_layer": 1}, r"also holds 'h.1.attn.c_attn.bias' and 11 more, which its config does not name"),
        ({"tie_word_embeddings": False}, "has no weights 'lm_head.weight'"),
        ({"n_layer": 65}, "num_layers must be at most 64, got 65"),
        ({"vocab_size": 100}, "does not fit the weights: it has 263 ids, and vocab_size is 100"),
        ({"vocab_size": 3000}, "does not fit the weights: it has 263 ids, and vocab_size is 3,000"),
    ):
        (folder / "config.json").write_text(json.dumps({**GPT2, **change}))
        with pytest.raises(UserError, match=told):
            import_folder(folder, tmp_path / "run")
    tensors = random_tensors(GPT2)
    save_file({**tensors, "lm_head.weight": tensors["transformer.wte.weight"] + 1}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(GPT2))
    with pytest.raises(UserError, match="'lm_head.weight' differs from 'wte.weight', and tie_word_embeddings says"):
        import_folder(folder, tmp_path / "run")
    tensors["transformer.ln_f.bias"][0] = np.nan
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match="'transformer.ln_f.bias' holds what is no finite number"):
        import_folder(folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_folders_that_are_not_whole(tmp_path):
    whole = write_model(tmp_path / "whole", GPT2, random_tensors(GPT2))
    with pytest.raises(UserError, match="there is no folder"):
        import_folder(tmp_path / "missing", tmp_path / "run")

    def refused(told, change):
        folder = shutil.copytree(whole, tmp_path / "model", dirs_exist_ok=True)
        change(folder)
        with pytest.raises(UserError, match=told):
            import_folder(folder, tmp_path / "run")
        shutil.rmtree(folder)

    def pickled(folder):
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    def truncated(folder):
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[:-9])

    def torn(folder):
        (folder / "model.safetensors").write_bytes(b"\xff" * 64)

    def other_kind(folder):
        tensors = {**random_tensors(GPT2), "transformer.ln_f.bias": np.zeros(16, np.int32)}
        save_file(tensors, folder / "model.safetensors")

    def without_end(folder):
        config = {key: value for key, value in GPT2.items() if key != "eos_token_id"}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "tokenizer_config.json").unlink()

    refused("has its weights in pytorch_model.bin alone, and such a file can run code", pickled)
    refused("has no weights: model.safetensors is missing", lambda f: (f / "model.safetensors").unlink())
    refused("model.safetensors is damaged", truncated)
    refused("model.safetensors is damaged", torn)
    refused("'transformer.ln_f.bias' holds I32; numbers must be F64, F32, F16, BF16", other_kind)
    refused("cannot read .*config.json", lambda f: (f / "config.json").unlink())
    refused("config.json is damaged", lambda f: (f / "config.json").write_text("[1]"))
    refused("config.json is damaged", lambda f: (f / "config.json").write_bytes(b"\xff"))
    refused("has no tokenizer: tokenizer.json, or vocab.json and merges.txt", lambda f: (f / "tokenizer.json").unlink())
    refused("is damaged: it is no JSON of the tokenizers library", lambda f: (f / "tokenizer.json").write_text("{}"))
    refused("names no end token", without_end)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole"]


def test_byte_pairs_in_two_files(tmp_path):
    folder = write_model(tmp_path / "model", LLAMA, random_tensors(LLAMA), byte_pairs=True)
    with pytest.raises(UserError, match="vocab.json alone says how GPT-2 splits text only"):
        import_folder(folder, tmp_path / "run")
    folder = write_model(tmp_path / "gpt2", GPT2, random_tensors(GPT2), byte_pairs=True)
    for merges in ("a b c\n", "t zzz\n"):
        (folder / "merges.txt").write_text(merges)
        with pytest.raises(UserError, match="vocab.json and merges.txt of .* are damaged"):
            import_folder(folder, tmp_path / "run")


def trained_here(folder, tokenizer="bytepair", **model):
    """Write a run of a language model as if it had been trained here; returns the run and its task."""
    sizes = {"num_layers": 1, "d_model": 16, "num_heads": 2, "dff": 20, "max_positions": 24}
    model = {
        **sizes,
        "norm_first": True,
        "positions": "learned",
        "scale_embeddings": False,
        "activation": "gelu",
        **model,
    }
    sections = {"task": {"name": "language-model"}, "model": model, "data": {"max_tokens": 24}}
    config = Config().override({**sections, "text": {"tokenizer": tokenizer, "vocabulary_size": 300}})
    vocabulary = TextVocabulary(train_exact(TEXTS * 3, config.text))
    task = LanguageModel(config, vocabulary, {"name": "texts", "fingerprint": "0"})
    folder.mkdir()
    run = RunDirectory(folder)
    run.write(config, vocabulary, task.corpus)
    save_arrays(run.weights(), model_variables(task.network("float32")))
    return run, task


def test_a_model_trained_here_is_written(tmp_path):
    """Its ids stay, its start token is put before texts there too, and what is read again computes the same."""
    run, task = trained_here(tmp_path / "run")
    export_run(run, "best", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (START_ID, END_ID, 0)
    written = tokenizers.Tokenizer.from_file(str(tmp_path / "model" / "tokenizer.json"))
    assert written.encode("the cat").ids == task.prompt("the cat").tolist()
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    ids = task.prompt("the cat")
    _, network = load(run)
    expected = LOGITS["gpt2"](config, tensors, ids)
    np.testing.assert_allclose(network(ids[np.newaxis])[0], expected, rtol=1e-4, atol=1e-4)
    again = import_folder(tmp_path / "model", tmp_path / "again")
    assert again.config.task.start_token
    found = load(RunDirectory(tmp_path / "again"))[1](again.prompt("the cat")[np.newaxis])[0].numpy()
    theirs = again.tokenizer.theirs
    np.testing.assert_allclose(found[:, theirs >= 0], expected[:, theirs[theirs >= 0]], rtol=1e-4, atol=1e-4)


def test_what_no_layout_has_is_refused_by_name(tmp_path):
    for number, (kind, change, told) in enumerate(
        (
            ("bytepair", {"norm_first": False}, "model.norm_first is False, and there it is True"),
            ("bytepair", {"positions": "sinusoidal"}, "model.positions is 'sinusoidal', and there it is 'learned'"),
            ("bytepair", {"norm": "rms", "positions": "rotary"}, "model.gated is False, and there it is True"),
            ("bytepair", {"activation": "elu"}, "it has no activation 'elu'"),
            ("characters", {}, "a tokenizer of the kind 'characters' has no place in such a folder"),
        )
    ):
        run, _ = trained_here(tmp_path / str(number), kind, **change)
        with pytest.raises(UserError, match=told):
            export_run(run, "best", tmp_path / "model")
    assert not (tmp_path / "model").exists()
