"""GGUF files, as llama.cpp and its relatives read them: one file of settings, tokenizer and quantised weights.

They are read as if they were a folder of transformers, see `huggingface/`. Quantised weights become float32.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from transformer.convert.directory import check_new
from transformer.convert.huggingface.folder import Shape, byte_pair_json, checked
from transformer.convert.huggingface.runs import import_model
from transformer.convert.huggingface.settings import Settings
from transformer.system.errors import UserError, panics_as_errors, shortened
from transformer.tasks.language_model import LanguageModel

NAMES = {  # of tensors: theirs, and those of transformers
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
    "blk.{}.attn_norm.weight": "model.layers.{}.input_layernorm.weight",
    "blk.{}.attn_q.weight": "model.layers.{}.self_attn.q_proj.weight",
    "blk.{}.attn_k.weight": "model.layers.{}.self_attn.k_proj.weight",
    "blk.{}.attn_v.weight": "model.layers.{}.self_attn.v_proj.weight",
    "blk.{}.attn_output.weight": "model.layers.{}.self_attn.o_proj.weight",
    "blk.{}.ffn_norm.weight": "model.layers.{}.post_attention_layernorm.weight",
    "blk.{}.ffn_gate.weight": "model.layers.{}.mlp.gate_proj.weight",
    "blk.{}.ffn_up.weight": "model.layers.{}.mlp.up_proj.weight",
    "blk.{}.ffn_down.weight": "model.layers.{}.mlp.down_proj.weight",
}
KEYS = {  # of settings: theirs without "llama.", and those of transformers
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "rope.freq_base": "rope_theta",
    "rope.dimension_count": "head_dim",
    "vocab_size": "vocab_size",
}
DIGITS_ALONE = {"gpt-2": False, "smollm": True}  # tokenizer.ggml.pre: whether each digit is a word of its own
CONTROL, USER_DEFINED = 3, 4  # kinds of tokens that are no pairs of bytes


class GGUF:
    """A GGUF file of a model with Llama's layout.

    Args:
        path: the file.

    Attributes:
        place: the file.
        shapes: of its tensors, by transformers' names.
        given: its settings, by the keys of transformers' config.json.

    Raises:
        UserError: it is damaged, of another architecture, or the library gguf is missing.
    """

    def __init__(self, path: Path) -> None:
        self.place = path
        try:
            import gguf
        except ModuleNotFoundError as error:
            if error.name != "gguf":
                raise
            raise UserError('reading GGUF needs the library gguf: pip install "transformer-reference[gguf]"') from None
        self._library = gguf
        try:
            with panics_as_errors():
                reader = gguf.GGUFReader(path)
                self.fields = {name: field.contents() for name, field in reader.fields.items()}
        except FileNotFoundError:
            raise UserError(f"there is no file {path}; name a GGUF file") from None
        except Exception as error:  # whatever the library raises of a forged file
            raise UserError(f"{path} is damaged, or no GGUF file ({error}); copy it again") from None
        self.given = self._settings()
        self._tensors = {_their_name(tensor.name): tensor for tensor in reader.tensors}
        self.shapes: Mapping[str, Shape] = {
            name: tuple(int(size) for size in reversed(tensor.shape)) for name, tensor in self._tensors.items()
        }
        self.given["tie_word_embeddings"] = "lm_head.weight" not in self.shapes

    def _settings(self) -> dict[str, Any]:
        """Return the settings by transformers' keys."""
        architecture = self.fields.get("general.architecture")
        if architecture != "llama":
            raise UserError(f"{self.place}: architecture {shortened(architecture)} is not known; known is llama")
        found: dict[str, Any] = {"model_type": "llama", "head_dim": None}
        for name, value in self.fields.items():
            key = name.removeprefix("llama.")
            if key == name:
                continue
            if key not in KEYS or found.get(KEYS[key]) not in (None, value):
                raise UserError(
                    f"{self.place}: {name} = {shortened(value)} cannot be honoured; it may change the result"
                )
            found[KEYS[key]] = value
        found["rms_norm_eps"] = _decimal(found.get("rms_norm_eps"))
        for key, name in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
            found[f"{key}_token_id"] = self.fields.get(f"tokenizer.ggml.{name}_token_id")
        found.setdefault("vocab_size", len(self._strings("tokens")))
        return found

    def _strings(self, name: str) -> list[str]:
        values = self.fields.get(f"tokenizer.ggml.{name}")
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise UserError(f"{self.place} has no tokenizer of byte pairs: tokenizer.ggml.{name} is missing")
        return values

    def tokenizer(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the JSON of the `tokenizers` library, and what else the file says of the tokenizer.

        Raises:
            UserError: it splits texts in a way that is not known, or is damaged.
        """
        for name, known in (("model", ["gpt2"]), ("pre", list(DIGITS_ALONE))):
            value = self.fields.get(f"tokenizer.ggml.{name}")
            if value not in known:
                raise UserError(
                    f"{self.place}: tokenizer.ggml.{name} = {shortened(value)} is not known; known are "
                    f"{', '.join(known)}"
                )
        tokens, kinds = self._strings("tokens"), self.fields.get("tokenizer.ggml.token_type")
        if not isinstance(kinds, list) or len(kinds) != len(tokens):
            raise UserError(f"{self.place}: tokenizer.ggml.token_type must have as many entries as there are tokens")
        special = [token for token, kind in zip(tokens, kinds, strict=True) if kind in (CONTROL, USER_DEFINED)]
        merges = [merge.split(" ") for merge in self._strings("merges")]
        try:
            if len(set(tokens)) != len(tokens) or any(len(merge) != 2 for merge in merges):
                raise ValueError("a token is there twice, or a merge is not of two")
            ids = {token: i for i, token in enumerate(tokens)}
            pairs = [(one, other) for one, other in merges]
            space = self.fields.get("tokenizer.ggml.add_space_prefix") is True
            model = byte_pair_json(ids, pairs, special, DIGITS_ALONE[self.fields["tokenizer.ggml.pre"]], space)
        except ValueError as error:
            raise UserError(f"the tokenizer of {self.place} is damaged ({error}); copy it again") from None
        extras: dict[str, Any] = {"add_bos_token": self.fields.get("tokenizer.ggml.add_bos_token") is True}
        for key in ("bos", "eos"):
            value = self.given[f"{key}_token_id"]
            if type(value) is int and 0 <= value < len(tokens):
                extras[f"{key}_token"] = tokens[value]
        if isinstance(template := self.fields.get("tokenizer.chat_template"), str):
            extras["chat_template"] = template
        return model, extras

    def read(self, name: str) -> np.ndarray:
        tensor = self._tensors[name]
        try:
            array = self._library.dequantize(tensor.data, tensor.tensor_type)
        except Exception as error:  # a kind that the library does not know, or a forged file
            raise UserError(f"{self.place}: '{tensor.name}' cannot be dequantised ({error})") from None
        array = np.asarray(array, np.float32).reshape(self.shapes[name])
        heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
        for part, key in heads.items():
            if part in name:
                array = halves_of_pairs(array, self.given.get(key) or self.given["num_attention_heads"])
        return checked(array, tensor.name, self.place)


def halves_of_pairs(array: np.ndarray, heads: int) -> np.ndarray:
    """Return rows (H * K, D) of queries or keys in the order in which i and i + K / 2 are turned together.

    llama.cpp turns 2i and 2i + 1 together, and its converter has moved the rows accordingly.
    """
    rows, width = array.shape
    return array.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)


def _their_name(name: str) -> str:
    """Return transformers' name of a tensor; one that is not known stays as it is, and is refused later."""
    number = re.fullmatch(r"blk\.(\d+)(\..*)", name)
    if not number:
        return NAMES.get(name, name)
    known = NAMES.get(f"blk.{{}}{number[2]}")
    return known.format(number[1]) if known else name


def _decimal(value: object) -> object:
    """Return the shortest decimal number that float32 keeps as it keeps this: 1e-5 instead of 9.999999747e-06."""
    return float(str(np.float32(value))) if isinstance(value, float) else value


def import_file(path: Path, run: Path) -> LanguageModel:
    """Make a run of a GGUF file, and return its task; errors as of `huggingface.runs.import_folder`."""
    check_new(run)
    file = GGUF(path)
    model, extras = file.tokenizer()
    return import_model(Settings(file.given, path), file, model, extras, run, path.stem)
