"""GPT: a decoder-only Transformer, which says of each token what the next one may be.

Axes: B batch, T tokens of a text, P of a prompt, H heads, D model width, K head width, V vocabulary, W hypotheses per
prompt, C columns of the cache.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from transformer.config.checks import require_choice
from transformer.ids import PAD_ID
from transformer.layers.attention import Cache, KeysValues
from transformer.layers.blocks import EncoderLayer, norm_of
from transformer.layers.cache import Joint, OwnTokens, PromptTokens, joint_of, visible_columns
from transformer.layers.checks import Shape, check_mask, check_sizes
from transformer.layers.embedding import TokenEmbedding
from transformer.layers.fused import Dropout
from transformer.layers.keras_call import PositionalCallMixin
from transformer.layers.masks import create_look_ahead_mask
from transformer.layers.options import LayerOptions
from transformer.layers.positions import KINDS, positions_of

UNUSED_LOGIT = -1e4  # of ids that stand for nothing: far below any other, and within float16
FIRST_STDDEV = 0.02  # of unscaled embeddings and the positions beside them (Radford et al. 2018, section 4.1)


class Prompt(NamedTuple):
    """What `GPT.step` needs of the prompts at every token.

    Attributes:
        joints: of each layer.
        read: (B, C) bool, which of the cache's first columns hold tokens of the prompt; C is a multiple of W.
        lengths: (B,) int32, tokens of the prompt that have been read, less those that are among the hypothesis'.
    """

    joints: list[Joint]
    read: tf.Tensor
    lengths: tf.Tensor


@keras.saving.register_keras_serializable(package="transformer")
class GPT(PositionalCallMixin, keras.Model):
    """A stack of self-attention layers in which each token sees itself and those before: ids to logits.

    Args:
        num_layers: number of layers.
        d_model, num_heads, dff, rate, **options: see `LayerOptions`; `rate` also applies to the embeddings. GPT-2 has
            `norm_first`, the activation 'gelu_tanh' and biases; Llama has `norm_first`, the norm 'rms', 'silu',
            `gated`, no biases and rotary positions.
        vocab_size: number of tokens V.
        maximum_position_encoding: longest text, in tokens.
        embeddings: 'shared': the embedding is also the output projection; 'separate': that is a matrix of its own.
        positions: name of what tells positions, one of `layers.positions.KINDS`.
        scale_embeddings: whether the vectors are multiplied by sqrt(d_model), as in Vaswani et al.; GPT-2's are not.
        unused_ids: ids that stand for nothing: they have rows in the tables, and no probability.

    Call: `gpt(ids, training, mask)` with ids (B, T) and a boolean mask broadcastable to (B, 1, T, T), which hides more
    than what comes later; None: nothing. Returns logits (B, T, V), float32 under every dtype policy. Padding behind a
    text changes nothing.

    `vocab_size`, `first`, `start` and `step` are what a search asks, see `search.loop.Generative`: the prompt is read
    at once, and `step` equals `call`. Prompts of several lengths are padded with 0 on the left.

    Raises:
        ValueError: a size, rate or head count out of range, `embeddings`, `positions` or `norm` unknown, ids that are
            too long, or a mask that is not boolean.

    Source: Radford et al. 2018 and 2019; the layers are those of Vaswani et al. 2017. Document 001, section 4.2.
    Deviation: the weights start as the other networks' here do, but for unscaled embeddings.
    """

    def __init__(
        self,
        num_layers: int,
        d_model: int,
        num_heads: int,
        dff: int,
        vocab_size: int,
        maximum_position_encoding: int,
        rate: float = 0.1,
        *,
        embeddings: str = "shared",
        positions: str = "learned",
        scale_embeddings: bool = True,
        unused_ids: Sequence[int] = (),
        **options: Any,
    ) -> None:
        layer_options, others = LayerOptions.split(d_model, num_heads, dff, rate, options)
        super().__init__(**others)
        require_choice("embeddings", embeddings, ("shared", "separate"))
        require_choice("positions", positions, tuple(KINDS))
        check_sizes(num_layers=num_layers, maximum_position_encoding=maximum_position_encoding)
        self.arguments = {
            **layer_options.arguments(),
            "num_layers": num_layers,
            "vocab_size": vocab_size,
            "maximum_position_encoding": maximum_position_encoding,
            "embeddings": embeddings,
            "positions": positions,
            "scale_embeddings": scale_embeddings,
            "unused_ids": list(unused_ids),
        }
        self.options, self.vocab_size, self.longest = layer_options, vocab_size, maximum_position_encoding
        self.output_bias: np.ndarray | None = None  # (V,) float32, no weight; an array that is at home in any graph
        if unused_ids:
            self.output_bias = np.zeros(vocab_size, np.float32)
            self.output_bias[list(unused_ids)] = UNUSED_LOGIT
        policy = self.dtype_policy
        self.embedding = TokenEmbedding(vocab_size, d_model, scale=scale_embeddings, dtype=policy, name="embedding")
        start = {"stddev": FIRST_STDDEV} if positions == "learned" and not scale_embeddings else {}
        self.positions, of_layers = positions_of(
            positions, self.longest, layer_options, num_layers, False, dtype=policy, name="positions", **start
        )
        self.dropout = Dropout(rate, dtype=policy, name="dropout")
        self.stack = [
            EncoderLayer(**layer_options.arguments(), positions=each, dtype=policy, name=f"layer{i}")
            for i, each in enumerate(of_layers, start=1)
        ]
        self.final_norm = norm_of(layer_options, dtype=policy, name="final_norm") if layer_options.norm_first else None
        self.final_layer = None
        if embeddings == "separate":
            self.final_layer = keras.layers.Dense(vocab_size, use_bias=False, dtype=policy, name="final_layer")

    def build(self, ids_shape: Shape | None = None) -> None:
        self.embedding.build()
        self.positions.build()
        for layer in self.stack:
            layer.build()
        for part in (self.final_norm, self.final_layer):
            if part:
                part.build((None, None, self.options.d_model))
        self.built = True

    def _read(
        self,
        x: tf.Tensor,
        mask: tf.Tensor,
        training: bool | None = None,
        caches: Sequence[Cache | None] = (),
    ) -> tf.Tensor:
        """Return the states of embedded tokens: (B, T, D), or (B * T, D) with a cache for each layer, to the same."""
        for layer, cache in zip(self.stack, caches or (None,) * len(self.stack), strict=True):
            x = layer(x, training=training, mask=mask, cache=cache)
        return self.final_norm(x) if self.final_norm else x

    def states(self, ids: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        """Return what is projected onto the vocabulary: (B, T) -> (B, T, D); arguments as of the call."""
        if (ids.shape[1] or 0) > self.longest:
            raise ValueError(
                f"{self.name}: ids must be at most maximum_position_encoding={self.longest} tokens long, "
                f"got {ids.shape[1]}"
            )
        check_mask(mask)
        causal = create_look_ahead_mask(tf.shape(ids)[1])[tf.newaxis, tf.newaxis]  # (1, 1, T, T)
        x = self.dropout(self.positions.embed(self.embedding(ids), 0), training=training)
        return self._read(x, causal if mask is None else causal & mask, training)

    def output_table(self) -> tf.Tensor:
        """Return the vectors (V, D) of the vocabulary projection."""
        if self.final_layer:
            return tf.transpose(self.final_layer.kernel)
        return tf.convert_to_tensor(self.embedding.embeddings)

    def project(self, x: tf.Tensor) -> tf.Tensor:
        """Return the logits of states: (..., D) -> (..., V), float32."""
        logits = self.final_layer(x) if self.final_layer else self.embedding.project(x)
        logits = tf.cast(logits, tf.float32)
        return logits if self.output_bias is None else logits + self.output_bias

    def call(self, ids: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        return self.project(self.states(ids, training, mask))

    def first(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return what `step` reads at first (B,): the last token of each prompt (B, P), whose logits nobody has yet."""
        return inputs[:, -1]

    def start(
        self, inputs: tf.Tensor, width: tf.Tensor | int, capacity: tf.Tensor | int
    ) -> tuple[Prompt, list[KeysValues]]:
        """Read all of the prompts but their last tokens, at once.

        Args:
            inputs: (B, P), at least one token each, padded with 0 on the left.
            width: W.
            capacity: tokens of each hypothesis that the cache has places for behind the prompt.

        Returns:
            What `step` needs, and keys and values of each layer, (B, H, C + capacity * W, K) each: the prompt, once
            for all hypotheses, then token t of hypothesis w in column C + t * W + w.
        """
        ids = inputs[:, :-1]  # (B, P - 1)
        batch, places = tf.unstack(tf.shape(ids))
        read = ids != PAD_ID
        lengths = tf.reduce_sum(tf.cast(read, tf.int32), axis=1)  # (B,)
        at = tf.maximum(tf.range(places) - places + lengths[:, tf.newaxis], 0)  # (B, P - 1), from 0 at the first token
        mask = create_look_ahead_mask(places) & read[:, tf.newaxis, tf.newaxis]  # (B, 1, P - 1, P - 1)
        joints = [joint_of(layer.mha) for layer in self.stack]
        prompts = [PromptTokens(joint, at) for joint in joints]
        x = self.positions.embed(self.embedding(ids), at)
        self._read(tf.reshape(x, (-1, self.options.d_model)), mask, False, prompts)
        columns = [[0, 0], [0, 0], [-places % width, capacity * width], [0, 0]]
        cache = [tuple(tf.pad(part, columns) for part in prompt.kept) for prompt in prompts]
        return Prompt(joints, tf.pad(read, [[0, 0], [-places % width, 0]]), lengths), cache

    def read(self, inputs: tf.Tensor, capacity: tf.Tensor | int) -> tuple[Prompt, list[KeysValues]]:
        """Read prompts as `start` does, into the places of one hypothesis: their last tokens are at position P - 1.

        So the shapes that `step` meets depend on the capacity alone, and not on the prompts.

        Args:
            inputs: (B, P), see `start`.
            capacity: tokens that the cache has places for, those of the prompt counted; at least P - 1.
        """
        memory, cache = self.start(inputs, 1, 0)
        places = tf.shape(inputs)[1] - 1
        columns = [[0, 0], [0, 0], [0, capacity - places], [0, 0]]
        longer = [tuple(tf.pad(part, columns) for part in layer) for layer in cache]
        return Prompt(memory.joints, memory.read[:, :0], memory.lengths - places), longer

    def step(
        self,
        ids: tf.Tensor,
        cache: list[KeysValues],
        position: tf.Tensor,
        memory: Prompt,
        ancestry: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, list[KeysValues], None]:
        """Return logits (B, W, V), cache and None after one more token of each hypothesis.

        Args:
            ids: (B, W).
            cache, memory: from `start`, the cache also from the last `step`.
            position: scalar int32, 0 for the tokens of `first`.
            ancestry: (B, W, T) int32, the hypotheses in whose columns the tokens up to `position` stand; None: their
                own.
        """
        batch, width = tf.shape(ids)[0], ids.shape[1] or tf.shape(ids)[1]
        columns = tf.shape(memory.read)[1]  # C, as many as those of C / W tokens of each hypothesis
        capacity = tf.shape(cache[0][0])[2] // width - columns // width
        # The batch goes on as long as one prompt does: those that are finished would read behind the last position.
        at = tf.minimum(memory.lengths[:, tf.newaxis] + position, self.longest - 1)  # (B, 1)
        prompt = tf.broadcast_to(memory.read[:, tf.newaxis, tf.newaxis], (batch, 1, width, columns))
        own = visible_columns(position, width, capacity, ancestry)
        of_own = tf.range(capacity * width) // width + memory.lengths[:, tf.newaxis]  # below 0: padding before a prompt
        own = tf.broadcast_to(own & (of_own >= 0)[:, tf.newaxis, tf.newaxis], (batch, 1, width, capacity * width))
        of_prompt = tf.range(columns) - columns + memory.lengths[:, tf.newaxis]
        others = tf.concat([of_prompt, of_own], axis=1)  # (B, C + capacity * W)
        place = columns // width + position
        tokens = [
            OwnTokens(kept, joint, place, width, (at, others)) for kept, joint in zip(cache, memory.joints, strict=True)
        ]
        x = self.positions.embed(self.embedding(ids), at)  # (B, W, D)
        x = self._read(
            tf.reshape(x, (-1, self.options.d_model)), tf.concat([prompt, own], axis=3), training=False, caches=tokens
        )
        logits = tf.reshape(self.project(x), (batch, width, self.vocab_size))
        return logits, [layer.kept for layer in tokens], None

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.arguments}
