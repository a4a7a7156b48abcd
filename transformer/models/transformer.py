"""The encoder-decoder Transformer.

Axes: B batch, T target/query, S source/key, D model width, V vocabulary, W hypotheses per sentence.
"""

from typing import Any

import keras
import tensorflow as tf

from transformer.ids import START_ID
from transformer.layers.attention import KeysValues
from transformer.layers.cache import Memory
from transformer.layers.checks import Shape, check_mask
from transformer.layers.embedding import TokenEmbedding
from transformer.layers.keras_call import PositionalCallMixin
from transformer.layers.masks import create_masks, create_padding_mask
from transformer.layers.options import LayerOptions
from transformer.models.stacks import Decoder, Encoder

__all__ = ["Decoder", "Encoder", "TokenEmbedding", "Transformer"]
Masks = tuple[tf.Tensor | None, tf.Tensor | None, tf.Tensor | None]


@keras.saving.register_keras_serializable(package="transformer")
class Transformer(PositionalCallMixin, keras.Model):
    """The encoder-decoder Transformer, from ids to logits.

    Args:
        num_layers, d_model, num_heads, dff, rate, **options: as `Encoder`.
        input_vocab_size: number of source tokens.
        target_vocab_size: number of target tokens V.
        pe_input: longest source, in tokens.
        pe_target: longest target, in tokens.
        embeddings: 'separate'; 'target': the decoder's embedding is also the output projection; 'shared': it is the
            encoder's embedding too.
        positions: as `Encoder`.

    Call, two forms:
        `transformer((source_ids, target_in))` with ids (B, S) and (B, T) builds its own masks and returns logits
        (B, T, V), so `fit` takes `((source_ids, target_in), target_out)`.

        `transformer(inp, tar, training, enc_padding_mask, look_ahead_mask, dec_padding_mask)`, the documents' six
        arguments, returns `(logits, attention_weights)`, the dict of `Decoder`. A mask left out is built from the ids.

    Logits are float32 under every dtype policy. `vocab_size`, `first`, `start` and `step` are what a search asks, see
    `search.loop.Generative`.

    Raises:
        ValueError: a size, rate or head count out of range, `embeddings` or `positions` unknown, 'shared' with two
            vocabulary sizes, ids that are too long, an input that is no pair, or a mask that is not boolean.

    Source: Vaswani et al. 2017, section 3; document 000, sections 5.2 and 5.3.2.
    Deviation: the documents never define this class; its arguments are those of their call. With tied embeddings the
        output projection has no bias (section 3.4); the separate one has, as the documents' Dense layers do.
    """

    def __init__(
        self,
        num_layers: int,
        d_model: int,
        num_heads: int,
        dff: int,
        input_vocab_size: int,
        target_vocab_size: int,
        pe_input: int,
        pe_target: int,
        rate: float = 0.1,
        *,
        embeddings: str = "separate",
        positions: str = "sinusoidal",
        **options: Any,
    ) -> None:
        layer_options, others = LayerOptions.split(d_model, num_heads, dff, rate, options)
        super().__init__(**others)
        if embeddings not in ("separate", "target", "shared"):
            raise ValueError(f"embeddings must be 'separate', 'target' or 'shared', got {embeddings!r}")
        if embeddings == "shared" and input_vocab_size != target_vocab_size:
            raise ValueError(
                "embeddings='shared' needs input_vocab_size and target_vocab_size to be equal, got "
                f"{input_vocab_size} and {target_vocab_size}"
            )
        both = {**layer_options.arguments(), "num_layers": num_layers, "positions": positions}
        self.arguments = {
            **both,
            "input_vocab_size": input_vocab_size,
            "target_vocab_size": target_vocab_size,
            "pe_input": pe_input,
            "pe_target": pe_target,
            "embeddings": embeddings,
        }
        policy = self.dtype_policy
        self.encoder = Encoder(
            **both,
            input_vocab_size=input_vocab_size,
            maximum_position_encoding=pe_input,
            dtype=policy,
            name="encoder",
        )
        self.decoder = Decoder(
            **both,
            target_vocab_size=target_vocab_size,
            maximum_position_encoding=pe_target,
            embedding=self.encoder.embedding if embeddings == "shared" else None,
            dtype=policy,
            name="decoder",
        )
        self.final_layer = None
        if embeddings == "separate":
            self.final_layer = keras.layers.Dense(target_vocab_size, dtype=policy, name="final_layer")

    def build(self, inp_shape: Shape | None = None, tar_shape: Shape | None = None) -> None:
        self.encoder.build()
        self.decoder.build()
        if self.final_layer:
            self.final_layer.build((None, None, self.decoder.options.d_model))
        self.built = True

    def project(self, x: tf.Tensor) -> tf.Tensor:
        """Return the logits of decoder outputs: (..., D) -> (..., V), float32."""
        logits = self.final_layer(x) if self.final_layer else self.decoder.embedding.project(x)
        return tf.cast(logits, tf.float32)

    def output_table(self) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Return the vectors (V, D) and the bias (V,) or None of the vocabulary projection."""
        if self.final_layer:
            return tf.transpose(self.final_layer.kernel), tf.convert_to_tensor(self.final_layer.bias)
        return tf.convert_to_tensor(self.decoder.embedding.embeddings), None

    def decode(
        self, inp: tf.Tensor, tar: tf.Tensor, training: bool | None = None, masks: Masks = (None, None, None)
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Return decoder outputs (B, T, D) and attention weights, before the vocabulary projection.

        Args:
            inp: source ids (B, S).
            tar: decoder input ids (B, T).
            training: whether dropout is active.
            masks: as `create_masks` returns them; each one that is None is built from the ids.
        """
        enc_padding_mask, look_ahead_mask, dec_padding_mask = (
            built if given is None else given for given, built in zip(masks, create_masks(inp, tar), strict=True)
        )
        enc_output = self.encoder(inp, training=training, mask=enc_padding_mask)
        return self.decoder(
            tar, enc_output, training=training, look_ahead_mask=look_ahead_mask, padding_mask=dec_padding_mask
        )

    @property
    def vocab_size(self) -> int:
        """V, of the target."""
        return self.decoder.vocab_size

    def first(self, source_ids: tf.Tensor) -> tf.Tensor:
        """Return the start token for each source: (B, S) -> (B,)."""
        return tf.fill(tf.shape(source_ids)[:1], START_ID)

    def start(
        self, source_ids: tf.Tensor, width: tf.Tensor | int, capacity: tf.Tensor | int
    ) -> tuple[tuple[list[Memory], tf.Tensor], list[KeysValues]]:
        """Return the memory of source ids (B, S), and an empty cache for W hypotheses of `capacity` tokens each."""
        padding_mask = create_padding_mask(source_ids)
        enc_output = self.encoder(source_ids, training=False, mask=padding_mask)
        memory, cache = self.decoder.start(enc_output, width, capacity)
        return (memory, padding_mask), cache

    def step(
        self,
        ids: tf.Tensor,
        cache: list[KeysValues],
        position: tf.Tensor,
        memory: tuple[list[Memory], tf.Tensor],
        ancestry: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, list[KeysValues], tf.Tensor]:
        """Return logits (B, W, V), cache and attention (B, W, S) after one more token of each hypothesis.

        Arguments as of `Decoder.step`. The attention is the mean over the heads of the last layer, float32.
        """
        layers, padding_mask = memory
        outputs, cache, weights = self.decoder.step(ids, cache, position, layers, padding_mask, ancestry)
        return self.project(outputs), cache, tf.cast(tf.reduce_mean(weights, axis=1), tf.float32)

    def call(
        self,
        inp: tf.Tensor | tuple[tf.Tensor, tf.Tensor],
        tar: tf.Tensor | None = None,
        training: bool | None = None,
        enc_padding_mask: tf.Tensor | None = None,
        look_ahead_mask: tf.Tensor | None = None,
        dec_padding_mask: tf.Tensor | None = None,
    ) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
        if tar is None:
            if not isinstance(inp, (tuple, list)) or len(inp) != 2:
                raise ValueError(f"inp must be the pair (source_ids, target_in) where tar is left out, got {inp!r}")
            source_ids, target_in = inp
            outputs, _ = self.decode(source_ids, target_in, training=training)
            return self.project(outputs)
        masks = (enc_padding_mask, look_ahead_mask, dec_padding_mask)
        for name, mask in zip(("enc_padding_mask", "look_ahead_mask", "dec_padding_mask"), masks, strict=True):
            check_mask(mask, name)
        outputs, attention_weights = self.decode(inp, tar, training=training, masks=masks)
        return self.project(outputs), attention_weights

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.arguments}
