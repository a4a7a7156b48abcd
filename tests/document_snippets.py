"""Document 000, section 5: its code as `test_documents` runs it, and what had to be adapted."""

IMPORT = (
    "from transformer import DecoderLayer, EncoderLayer, MultiHeadAttention, Transformer, create_masks, masked_loss, "
    "point_wise_feed_forward_network, scaled_dot_product_attention"
)

# What had to be adapted: the document's line (None: it has none), ours, and why.
ADAPTED = [
    (None, "import numpy as np", "the document uses np without importing it"),
    (None, "import tensorflow as tf", "the document uses tf without importing it"),
    (
        "class MultiHeadAttention(tf.keras.layers.Layer):",
        IMPORT,
        "replaces the class bodies, and brings the names the document uses without defining them",
    ),
    ("class EncoderLayer(tf.keras.layers.Layer):", None, "its body is replaced by the import"),
    ("class DecoderLayer(tf.keras.layers.Layer):", None, "its body is replaced by the import"),
]

SNIPPETS = [
    """
import numpy as np
import tensorflow as tf
""",
    """
import re
def preprocess_text(text):
    text = text.lower()
    text = re.sub(r"[^a-zA-Z0-9]+", " ", text)
    return text.strip()
""",
    """
from tensorflow.keras.preprocessing.text import Tokenizer
tokenizer = Tokenizer(num_words=MAX_VOCAB_SIZE)
tokenizer.fit_on_texts(texts)
sequences = tokenizer.texts_to_sequences(texts)
""",
    """
def positional_encoding(pos, d_model):
    def get_angles(pos, i, d_model):
        angle_rates = 1 / np.power(10000, (2 * (i//2)) / np.float32(d_model))
        return pos * angle_rates

    angle_rads = get_angles(np.arange(pos)[:, np.newaxis],
                            np.arange(d_model)[np.newaxis, :],
                            d_model)

    angle_rads[:, 0::2] = np.sin(angle_rads[:, 0::2])
    angle_rads[:, 1::2] = np.cos(angle_rads[:, 1::2])

    pos_encoding = angle_rads[np.newaxis, ...]

    return tf.cast(pos_encoding, dtype=tf.float32)
""",
    IMPORT,
    """
train_dataset = tf.data.Dataset.from_tensor_slices((train_inputs, train_outputs))
train_dataset = train_dataset.cache()
train_dataset = train_dataset.shuffle(BUFFER_SIZE).batch(BATCH_SIZE)
train_dataset = train_dataset.prefetch(tf.data.experimental.AUTOTUNE)

val_dataset = tf.data.Dataset.from_tensor_slices((val_inputs, val_outputs))
val_dataset = val_dataset.batch(BATCH_SIZE)
""",
    """
transformer = Transformer(num_layers, d_model, num_heads, dff, input_vocab_size, target_vocab_size, pe_input=input_vocab_size, pe_target=target_vocab_size, rate=dropout_rate)

optimizer = tf.keras.optimizers.Adam(learning_rate, beta_1=0.9, beta_2=0.98, epsilon=1e-9)

transformer.compile(optimizer=optimizer, loss=masked_loss)

history = transformer.fit(train_dataset, epochs=EPOCHS, validation_data=val_dataset)
""",  # noqa: E501  the document's own line
    """
def evaluate(inp_sentence):
    start_token = [tokenizer_pt.vocab_size]
    end_token = [tokenizer_pt.vocab_size + 1]

    inp_sentence = start_token + tokenizer_pt.encode(inp_sentence) + end_token
    encoder_input = tf.expand_dims(inp_sentence, 0)

    decoder_input = [tokenizer_en.vocab_size]
    output = tf.expand_dims(decoder_input, 0)

    for i in range(MAX_LENGTH):
        enc_padding_mask, combined_mask, dec_padding_mask = create_masks(encoder_input, output)

        predictions, attention_weights = transformer(encoder_input, output, False, enc_padding_mask, combined_mask, dec_padding_mask)

        predictions = predictions[:, -1:, :]

        predicted_id = tf.cast(tf.argmax(predictions, axis=-1), tf.int32)

        if predicted_id == tokenizer_en.vocab_size+1:
            return tf.squeeze(output, axis=0), attention_weights

        output = tf.concat([output, predicted_id], axis=-1)

    return tf.squeeze(output, axis=0), attention_weights

def translate(sentence):
    result, attention_weights = evaluate(sentence)

    predicted_sentence = tokenizer_en.decode([i for i in result if i < tokenizer_en.vocab_size])

    return predicted_sentence
""",  # noqa: E501  the document's own line
]

# Lines inside the replaced class bodies that call what we replace: the positional order is the document's.
INSIDE = """
self.mha = MultiHeadAttention(d_model, num_heads)
self.ffn = point_wise_feed_forward_network(d_model, dff)
attn_output, _ = self.mha(x, x, x, mask)
self.mha1 = MultiHeadAttention(d_model, num_heads)
self.mha2 = MultiHeadAttention(d_model, num_heads)
attn1, attn_weights_block1 = self.mha1(x, x, x, look_ahead_mask)
attn2, attn_weights_block2 = self.mha2(enc_output, enc_output, out1, padding_mask)
scaled_attention, attention_weights = scaled_dot_product_attention(q, k, v, mask)
ffn_output = self.ffn(out1)
"""
