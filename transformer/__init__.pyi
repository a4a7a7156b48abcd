from transformer.config.run import Config as Config
from transformer.data.document_text import preprocess_text as preprocess_text
from transformer.inference.document_functions import evaluate as evaluate
from transformer.inference.document_functions import translate as translate
from transformer.inference.embedder import Embedder as Embedder
from transformer.inference.generator import Generator as Generator
from transformer.inference.predictor import Predictor as Predictor
from transformer.inference.translator import Translator as Translator
from transformer.layers.attention import MultiHeadAttention as MultiHeadAttention
from transformer.layers.attention import scaled_dot_product_attention as scaled_dot_product_attention
from transformer.layers.blocks import DecoderLayer as DecoderLayer
from transformer.layers.blocks import EncoderLayer as EncoderLayer
from transformer.layers.blocks import point_wise_feed_forward_network as point_wise_feed_forward_network
from transformer.layers.masks import create_masks as create_masks
from transformer.layers.positions import positional_encoding as positional_encoding
from transformer.losses.cross_entropy import masked_accuracy as masked_accuracy
from transformer.losses.cross_entropy import masked_loss as masked_loss
from transformer.models.bert import BERT as BERT
from transformer.models.bert import BertEncoder as BertEncoder
from transformer.models.transformer import Decoder as Decoder
from transformer.models.transformer import Encoder as Encoder
from transformer.models.transformer import Transformer as Transformer
from transformer.system.errors import UserError as UserError
from transformer.training.schedules import TransformerSchedule as TransformerSchedule

__version__: str
