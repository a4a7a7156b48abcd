"""The settings of a model in transformers' `config.json`: each is honoured, known to change nothing, or refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformer.system.errors import UserError, shortened

# Keys that change nothing about the logits of a text: records, outputs that nobody asks for here, training, generation.
NEUTRAL = {
    *("model_type", "architectures", "transformers_version", "_name_or_path", "name_or_path", "tokenizer_class"),
    *("torch_dtype", "dtype", "use_cache", "initializer_range", "gradient_checkpointing", "torchscript"),
    *("output_attentions", "output_hidden_states", "output_past", "return_dict", "return_dict_in_generate"),
    *("output_scores", "_attn_implementation", "attn_implementation", "_attn_implementation_autoset", "use_bfloat16"),
    *("id2label", "label2id", "num_labels", "problem_type", "finetuning_task", "task_specific_params"),
    *("is_llama_config", "rope_interleaved", "transformers.js_config"),
    *("is_decoder", "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups"),
    *("diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty"),
    *("no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences"),
    *("forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values", "exponential_decay_length_penalty"),
    *("suppress_tokens", "begin_suppress_tokens", "prefix", "sep_token_id", "decoder_start_token_id"),
}


class Settings:
    """The keys of a `config.json`, which are taken one by one; in the end none may be left.

    Args:
        values: of the keys.
        place: the file, for messages.

    Attributes:
        warnings: what is honoured in part only.
    """

    def __init__(self, values: Mapping[str, Any], place: Path | str) -> None:
        self.values, self.place = dict(values), place
        self._left = set(values)
        self.warnings: list[str] = []

    def refuse(self, key: str, rule: str) -> UserError:
        """Return the error that a key's value gets."""
        return UserError(f"{self.place}: {key} = {shortened(self.values.get(key))} cannot be honoured; {rule}")

    def take(self, key: str, default: Any, kind: type) -> Any:
        """Return the value of a key, of type int, float, bool, str or dict; a missing one, or null, is the default."""
        self._left.discard(key)
        value = self.values.get(key)
        value = default if value is None else value
        if kind is float and type(value) is int:
            value = float(value)
        if value is not None and type(value) is not kind:
            raise self.refuse(key, f"it must be of type {kind.__name__}")
        return value

    def size(self, key: str, default: Any) -> int:
        """Return a size, from 1 to below 2^31."""
        value = self.take(key, default, int)
        if value is None or not 1 <= value < 2**31:
            raise self.refuse(key, "it must be a size")
        return int(value)

    def pass_over(self, key: str) -> None:
        """Say that somebody else looks at a key."""
        self._left.discard(key)

    def only(self, key: str, *allowed: Any) -> None:
        """Refuse a key unless it is missing, null, or has one of some values."""
        self._left.discard(key)
        value = self.values.get(key)
        if value is not None and value not in allowed:
            raise self.refuse(key, f"it may be {' or '.join(map(repr, allowed))}")

    def named(self, key: str, default: str, names: Mapping[str, str]) -> str:
        """Return our name for their value of a key."""
        value = self.take(key, default, str)
        if value not in names:
            raise self.refuse(key, f"it may be {', '.join(names)}")
        return names[value]

    def finish(self, *neutral: str) -> None:
        """Refuse what nobody took, but for `NEUTRAL` keys and others like them."""
        for key, value in (("is_encoder_decoder", False), ("pruned_heads", {}), ("chunk_size_feed_forward", 0)):
            self.only(key, value)
        for key in ("cross_attention_hidden_size", "tie_encoder_decoder", "add_cross_attention"):
            self.only(key, False)
        if left := sorted(self._left - NEUTRAL - set(neutral)):
            raise self.refuse(left[0], "the key is not known here, and may change the result")
