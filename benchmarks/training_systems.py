"""The systems that `training_speed.py` compares: one model, built with each library, trained on given batches.

    python training_systems.py NAME BATCHES.npz THREADS

is one system in a process of its own. It makes two passes over the batches, so that everything is compiled, says
"ready", then makes one pass for each line on standard input and prints the seconds it took. Nothing of this package is
imported but by the system `transformer`, so that a peer may live in another environment.
"""

import os
import sys
import time
from types import SimpleNamespace

LAYERS, WIDTH, HEADS, INNER, VOCABULARY, POSITIONS = 4, 128, 8, 512, 8000, 128
DROPOUT, SMOOTHING, RATE = 0.1, 0.1, 1e-3
PAD, START, END = 0, 2, 3


def transformer(threads):
    """Return a step of this package's trainer."""
    import tensorflow as tf

    from transformer.config.run import Config
    from transformer.data.tokenizers.vocabularies import TokenizerPair
    from transformer.models.transformer import Transformer
    from transformer.tasks.translation import Translation
    from transformer.training.cluster import open_strategy
    from transformer.training.optimizer import build_optimizer
    from transformer.training.steps import Steps

    strategy = open_strategy("single")  # two threads where the process may use two cores
    config = Config().override(
        {
            "model": {"d_model": WIDTH},
            "training": {"schedule": "inverse_sqrt", "peak_learning_rate": RATE, "label_smoothing": SMOOTHING},
        }
    )
    model = Transformer(LAYERS, WIDTH, HEADS, INNER, VOCABULARY, VOCABULARY, POSITIONS, POSITIONS, rate=DROPOUT)
    model.build()
    task = Translation(config, TokenizerPair(*[SimpleNamespace(kind="ids", vocabulary_size=VOCABULARY)] * 2), {})
    steps = Steps(task, model, build_optimizer(config, model.trainable_variables), config.training, strategy)
    return lambda *ids: steps.train([dict(zip(task.features, ids, strict=True))]), tf.constant


def _keras_step(model, tf, keras):
    """Return a compiled step of `train_on_batch` with the label-smoothed loss over real tokens."""

    def loss(labels, logits):
        real = tf.cast(labels != PAD, tf.float32)
        labels = tf.cast(labels, tf.int32)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        label_logits = tf.gather(logits, labels, axis=-1, batch_dims=2)
        losses += SMOOTHING * (label_logits - tf.reduce_mean(logits, axis=-1))
        return tf.reduce_sum(losses * real) / tf.reduce_sum(real)

    model.compile(keras.optimizers.Adam(RATE, beta_2=0.98, epsilon=1e-9), loss, jit_compile=False)
    return lambda source_ids, target_in, target_out: model.train_on_batch((source_ids, target_in), target_out)


def keras_hub(threads):
    """Return a step of KerasHub's layers, compiled and trained by Keras."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    import keras
    import keras_hub as hub

    source, target = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")

    def embedded(ids):
        layer = hub.layers.TokenAndPositionEmbedding(VOCABULARY, POSITIONS, WIDTH)
        return keras.layers.Dropout(DROPOUT)(layer(ids))

    x, real = embedded(source), source != PAD
    for _ in range(LAYERS):
        x = hub.layers.TransformerEncoder(INNER, HEADS, DROPOUT)(x, padding_mask=real)
    y = embedded(target)
    for _ in range(LAYERS):
        y = hub.layers.TransformerDecoder(INNER, HEADS, DROPOUT)(
            y, x, decoder_padding_mask=target != PAD, encoder_padding_mask=real
        )
    model = keras.Model([source, target], keras.layers.Dense(VOCABULARY)(y))
    return _keras_step(model, tf, keras), tf.constant


def keras_attention(threads):
    """Return a step of blocks made of `keras.layers.MultiHeadAttention`, as in the TensorFlow tutorial.

    Two mends: heads are `WIDTH / HEADS` wide, so that the model is the same, and masks are given, so that none is lost.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    import keras
    from keras import layers

    def residual(x, output):
        return layers.LayerNormalization(epsilon=1e-6)(x + layers.Dropout(DROPOUT)(output))

    def attend(x, memory, mask=None, causal=False):
        attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS)
        return residual(x, attention(x, memory, attention_mask=mask, use_causal_mask=causal))

    def feed_forward(x):
        return residual(x, layers.Dense(WIDTH)(layers.Dense(INNER, activation="relu")(x)))

    class Positions(layers.Layer):
        """Embeddings plus learned positions."""

        def __init__(self):
            super().__init__()
            self.tokens = layers.Embedding(VOCABULARY, WIDTH)
            self.places = layers.Embedding(POSITIONS, WIDTH)
            self.dropout = layers.Dropout(DROPOUT)

        def call(self, ids, training=None):
            x = self.tokens(ids) * WIDTH**0.5 + self.places(keras.ops.arange(keras.ops.shape(ids)[1]))
            return self.dropout(x, training=training)

    source, target = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    real = (source != PAD)[:, None, :]
    x = Positions()(source)
    for _ in range(LAYERS):
        x = feed_forward(attend(x, x, real))
    y = Positions()(target)
    for _ in range(LAYERS):
        y = feed_forward(attend(attend(y, y, causal=True), x, real))
    model = keras.Model([source, target], layers.Dense(VOCABULARY)(y))
    return _keras_step(model, tf, keras), tf.constant


def _torch_step(torch, model, logits_of):
    """Return a step of Adam on the label-smoothed loss over real tokens."""
    criterion = torch.nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=SMOOTHING)
    optimizer = torch.optim.Adam(model.parameters(), RATE, betas=(0.9, 0.98), eps=1e-9)
    model.train()

    def step(source_ids, target_in, target_out):
        optimizer.zero_grad(set_to_none=True)
        logits = logits_of(source_ids, target_in)
        criterion(logits.reshape(-1, VOCABULARY), target_out.reshape(-1)).backward()
        optimizer.step()

    return step, lambda ids: torch.from_numpy(ids).long()


def torch_transformer(threads):
    """Return a step of `torch.nn.Transformer`."""
    import torch

    torch.set_num_threads(threads)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.source = torch.nn.Embedding(VOCABULARY, WIDTH)
            self.target = torch.nn.Embedding(VOCABULARY, WIDTH)
            self.places = torch.nn.Embedding(POSITIONS, WIDTH)
            self.dropout = torch.nn.Dropout(DROPOUT)
            self.stacks = torch.nn.Transformer(WIDTH, HEADS, LAYERS, LAYERS, INNER, DROPOUT, batch_first=True)
            self.output = torch.nn.Linear(WIDTH, VOCABULARY)

        def embedded(self, table, ids):
            return self.dropout(table(ids) * WIDTH**0.5 + self.places(torch.arange(ids.shape[1])))

        def forward(self, source_ids, target_in):
            hidden = source_ids == PAD
            causal = torch.nn.Transformer.generate_square_subsequent_mask(target_in.shape[1], dtype=torch.bool)
            return self.output(
                self.stacks(
                    self.embedded(self.source, source_ids),
                    self.embedded(self.target, target_in),
                    tgt_mask=causal,
                    src_key_padding_mask=hidden,
                    memory_key_padding_mask=hidden,
                    tgt_is_causal=True,
                )
            )

    model = Model()
    return _torch_step(torch, model, model)


def marian_config(**options):
    """Return the sizes of the model in the terms of Hugging Face's Marian."""
    from transformers import MarianConfig

    sizes = {"layers": LAYERS, "attention_heads": HEADS, "ffn_dim": INNER}
    return MarianConfig(
        vocab_size=VOCABULARY,
        d_model=WIDTH,
        **{f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in sizes.items()},
        activation_function="relu",
        dropout=DROPOUT,
        max_position_embeddings=POSITIONS,
        pad_token_id=PAD,
        decoder_start_token_id=START,
        eos_token_id=END,
        forced_eos_token_id=END,
        share_encoder_decoder_embeddings=False,
        tie_word_embeddings=False,
        scale_embedding=True,
        **options,
    )


def hf_marian(threads):
    """Return a step of Hugging Face's Marian model."""
    import torch
    from transformers import MarianMTModel

    torch.set_num_threads(threads)
    model = MarianMTModel(marian_config(use_cache=False))

    def logits(source_ids, target_in):
        return model(input_ids=source_ids, attention_mask=source_ids != PAD, decoder_input_ids=target_in).logits

    return _torch_step(torch, model, logits)


def opennmt_tf(threads):
    """Return a step of OpenNMT-tf 2.32, in its own environment."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    import opennmt

    encoder = opennmt.encoders.SelfAttentionEncoder(LAYERS, WIDTH, HEADS, INNER, DROPOUT, DROPOUT, DROPOUT)
    decoder = opennmt.decoders.SelfAttentionDecoder(LAYERS, WIDTH, HEADS, INNER, DROPOUT, DROPOUT, DROPOUT)
    decoder.initialize(vocab_size=VOCABULARY)
    tables = [tf.Variable(tf.random.normal((VOCABULARY, WIDTH), stddev=WIDTH**-0.5)) for _ in range(2)]
    optimizer = tf.keras.optimizers.legacy.Adam(RATE, beta_2=0.98, epsilon=1e-9)
    ids = tf.TensorSpec((None, None), tf.int32)

    @tf.function(input_signature=[ids] * 3, autograph=False)
    def step(source_ids, target_in, target_out):
        lengths = [tf.reduce_sum(tf.cast(part != PAD, tf.int32), axis=1) for part in (source_ids, target_in)]
        with tf.GradientTape() as tape:
            memory, _, _ = encoder(tf.gather(tables[0], source_ids), lengths[0], training=True)
            state = decoder.initial_state(memory=memory, memory_sequence_length=lengths[0])
            logits, _, _ = decoder(tf.gather(tables[1], target_in), lengths[1], state=state, training=True)
            total, normalizer, _ = opennmt.utils.cross_entropy_sequence_loss(
                logits, target_out, sequence_length=lengths[1], label_smoothing=SMOOTHING, training=True
            )
            loss = total / normalizer
        weights = [*tables, *encoder.trainable_variables, *decoder.trainable_variables]
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    return lambda *batch: float(step(*batch)), tf.constant


SYSTEMS = {
    system.__name__: system
    for system in (transformer, keras_hub, keras_attention, torch_transformer, hf_marian, opennmt_tf)
}


def main() -> int:
    """Be one system until standard input ends."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    name, path, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    import numpy as np

    step, to_tensor = SYSTEMS[name](threads)
    stored = np.load(path)
    batches = [tuple(to_tensor(stored[f"{part}{i}"]) for part in "abc") for i in range(len(stored.files) // 3)]
    for _ in range(2):
        for batch in batches:
            step(*batch)
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        for batch in batches:
            step(*batch)
        print(time.perf_counter() - start, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
