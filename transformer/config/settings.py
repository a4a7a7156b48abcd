"""The sections of a config: frozen dataclasses, the only place with defaults of a run."""

from dataclasses import dataclass

from transformer.config.checks import require, require_choice, require_positive, require_rate

DEFAULT_RUN = "runs/phrasebook_pt_to_en"
DEFAULT_DATASET = "phrasebook/pt_to_en"
FILES = ("train", "valid", "test")  # fields of DataConfig
POSITIONS = ("sinusoidal", "rotary", "learned", "relative_bias", "relative_keys")  # see `layers/positions.py`
DECAYS = ("inverse_sqrt", "cosine", "linear")  # of the learning rate after its warm-up, see `training/schedules.py`
TOKENIZERS = ("sentencepiece", "wordpiece", "bytepair", "characters", "bytes", "huggingface")
AUTO, CTRANSLATE2, TENSORFLOW = ENGINES = ("auto", "ctranslate2", "tensorflow")  # of `inference/engine.py`
PENALTIES = ("gnmt", "length")
PRECISIONS = ("float32", "bfloat16", "float16")
FINISHED = ("compete", "leave")
CUTS = ("sentences", "long")
SMALLEST_TOP_P = 1e-6  # the likeliest of a million tokens has more; float32 takes the smallest numbers for 0
STRATEGIES = ("single", "mirrored", "multiworker")  # how many devices and machines train


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of the network (Vaswani et al. 2017, section 3). The defaults are the tutorial's sizes."""

    num_layers: int = 4  # layers in the encoder, and as many in the decoder; of a language model, all there are
    d_model: int = 128  # width of every layer's input and output
    num_heads: int = 8
    dff: int = 512  # inner width of the feed-forward network
    activation: str = "relu"  # of the feed-forward network; any name Keras knows, or 'gelu_tanh' (GPT-2's)
    dropout_rate: float = 0.1  # on the embeddings and each sub-layer's output (section 5.4)
    attention_dropout_rate: float = 0.0  # on the attention weights
    feed_forward_dropout_rate: float = 0.0  # after the feed-forward network's activation
    norm_first: bool = False  # False: post-norm, as in the paper; True: pre-norm (Xiong et al. 2020)
    embeddings: str = "separate"  # 'separate'; 'target': decoder input = output projection; 'shared': all three
    positions: str = "sinusoidal"  # section 3.5; 'learned': a trained vector each; relative: 'rotary' (Su et al. 2021),
    # 'relative_bias' (T5: Raffel et al. 2020), 'relative_keys' (Shaw et al. 2018)
    max_positions: int = 512  # longest sequence in tokens, start and end included
    relative_distance: int = 0  # farthest that 'relative_bias' and 'relative_keys' tell apart; 0: 128 and 16, as there
    relative_buckets: int = 32  # of distances in 'relative_bias'; an encoder's are one half for each direction
    relative_values: bool = True  # 'relative_keys' adds to values too; False: to keys alone
    # Of language models and encoders alone: GPT-2, Llama and BERT differ from the paper in these.
    norm: str = "layer"  # 'layer' or 'rms' (Zhang and Sennrich 2019)
    norm_epsilon: float = 1e-6  # added to the variance or the mean square
    gated: bool = False  # a gated feed-forward network (Shazeer 2020); with the activation 'silu' it is SwiGLU
    use_bias: bool = True  # of all dense layers and norms
    num_kv_heads: int = 0  # heads of keys and values, shared by those of queries (Ainslie et al. 2023); 0: num_heads
    rotary_base: float = 10000.0  # of the angles of 'rotary' positions
    scale_embeddings: bool = True  # times sqrt(d_model) (section 3.4); an encoder's never are

    def __post_init__(self) -> None:
        for name in ("num_layers", "d_model", "num_heads", "dff", "max_positions"):
            require_positive(name, getattr(self, name))
        # The deepest for translation that helped has 60 layers (Liu et al. 2020, arXiv:2008.07772). Each takes time to
        # build, however narrow it is: 400 layers of width 1 would take 40 seconds and 1.7 GB.
        require(self.num_layers <= 64, "num_layers", "at most 64", self.num_layers)
        require(self.max_positions <= 2**14, "max_positions", "at most 16384", self.max_positions)
        most = 2**24 // self.d_model  # tables of positions are made in float64: 300 MB for a moment
        require(self.max_positions <= most, "max_positions", f"at most 2^24 / d_model = {most}", self.max_positions)
        require(
            self.d_model % self.num_heads == 0, "d_model", f"a multiple of num_heads={self.num_heads}", self.d_model
        )
        for name in ("dropout_rate", "attention_dropout_rate", "feed_forward_dropout_rate"):
            require_rate(name, getattr(self, name))
        require_choice("embeddings", self.embeddings, ("separate", "target", "shared"))
        require_choice("positions", self.positions, POSITIONS)
        in_pairs = self.positions != "rotary" or self.d_model // self.num_heads % 2 == 0
        require(in_pairs, "d_model", f"an even multiple of num_heads={self.num_heads} for 'rotary'", self.d_model)
        self._check_relative()
        require_choice("norm", self.norm, ("layer", "rms"))
        for name in ("norm_epsilon", "rotary_base"):
            require_positive(name, getattr(self, name))
        divides = self.num_kv_heads >= 0 and self.num_heads % (self.num_kv_heads or 1) == 0
        require(divides, "num_kv_heads", f"0 or a divisor of num_heads={self.num_heads}", self.num_kv_heads)

    def _check_relative(self) -> None:
        buckets, distance = self.relative_buckets, self.relative_distance
        even = 4 <= buckets <= 1024 and buckets % 2 == 0
        require(even, "relative_buckets", "an even number from 4 to 1024", buckets)
        require(0 <= distance <= 2**14, "relative_distance", "from 0 to 16384", distance)
        if self.positions == "relative_bias":
            rule = f"above relative_buckets / 2 = {buckets // 2}"
            require((distance or 128) > buckets // 2, "relative_distance", rule, distance or 128)

    @property
    def cached(self) -> int:
        """Numbers that a search keeps of each token that it writes: the keys and values of all layers."""
        return 2 * self.num_layers * self.d_model // self.num_heads * (self.num_kv_heads or self.num_heads)


@dataclass(frozen=True)
class TextConfig:
    """Subword vocabulary, learned from the training corpus."""

    tokenizer: str = "sentencepiece"  # or 'wordpiece'; of an encoder 'bytepair' too; of a language model 'bytepair',
    # 'characters' or 'bytes' instead of 'wordpiece', which does not give back a text as it was;
    # 'huggingface' is that of an imported model, which `training.init_from` names
    model_type: str = "unigram"  # SentencePiece's algorithm: 'unigram' or 'bpe'
    vocabulary_size: int = 8000  # upper bound; a small corpus may hold fewer pieces. 'bytes' are always 260
    joint: bool = True  # one vocabulary for both languages, or one for each
    sample_size: int = 300_000  # sentences or lines (all languages together) to learn from; 2 million would take 6 GB

    def __post_init__(self) -> None:
        require_choice("tokenizer", self.tokenizer, TOKENIZERS)
        require_choice("model_type", self.model_type, ("unigram", "bpe"))
        require(self.vocabulary_size >= 300, "vocabulary_size", "at least 300", self.vocabulary_size)
        require_positive("sample_size", self.sample_size)


@dataclass(frozen=True)
class CleaningConfig:
    """Cleaning of the training pairs; each rule can be turned off and reports how many pairs it removed."""

    normalise_unicode: bool = True  # NFC; full-width and ligature forms are kept
    strip_html: bool = True  # unescape entities and remove tags
    drop_empty: bool = True
    drop_duplicates: bool = True  # the same pair again
    max_words: int = 0  # longest side in words (characters in languages without spaces); 0: no limit
    max_ratio: float = 0.0  # longest side / shortest side in characters; 0: no limit

    def __post_init__(self) -> None:
        require(self.max_words >= 0, "max_words", "at least 0", self.max_words)
        require(self.max_ratio == 0 or self.max_ratio >= 1, "max_ratio", "0 or at least 1", self.max_ratio)


@dataclass(frozen=True)
class DataConfig:
    """Where examples come from (a TFDS name or files, which the task reads) and how they become batches."""

    dataset: str = ""  # TFDS name such as 'phrasebook/pt_to_en', or 'tiny_shakespeare' for a language model
    train: tuple[str, ...] = ()  # files, plain or compressed; for translation: source and target, or one TSV of both
    valid: tuple[str, ...] = ()  # likewise
    test: tuple[str, ...] = ()  # likewise
    validation_pairs: int = 1000  # taken from the training pairs where the source has no validation split
    max_tokens: int = 128  # training pairs with a longer side are left out; a language model reads so many at once
    batch_tokens: int = 4096  # padded target tokens in a batch, as many at most on the source side
    length_step: int = 4  # lengths are padded up to a multiple of this, which bounds the number of shapes
    shuffle_buffer: int = 100_000  # pairs shuffled together before they are sorted into batches
    cache: str = ""  # folder for tokenised shards; empty: $TRANSFORMER_CACHE, $XDG_CACHE_HOME/transformer, ~/.cache/...

    def __post_init__(self) -> None:
        for name in ("max_tokens", "batch_tokens", "length_step", "shuffle_buffer", "validation_pairs"):
            require_positive(name, getattr(self, name))
        least = self.max_tokens
        require(self.batch_tokens >= least, "batch_tokens", f"at least max_tokens={least}", self.batch_tokens)


@dataclass(frozen=True)
class TrainingConfig:
    """Loss, optimiser, schedule and length of a training run."""

    seed: int = 1
    max_steps: int = 20_000  # optimiser steps
    max_minutes: float = 0.0  # wall time of the loop, validation included; 0: no limit
    schedule: str = "noam"  # 'noam' (section 5.3), 'inverse_sqrt', 'cosine' or 'linear'
    peak_learning_rate: float = 0.0  # reached at warmup_steps; 0: the paper's d_model^-0.5 * warmup_steps^-0.5
    warmup_steps: int = 4000
    learning_rate_floor: float = 0.0  # where 'cosine' and 'linear' end, as a share of the peak
    beta_1: float = 0.9
    beta_2: float = 0.98
    epsilon: float = 1e-9
    weight_decay: float = 0.0  # AdamW's (Loshchilov and Hutter 2019), on all but biases and norms; 0: plain Adam
    freeze_layers: int = 0  # of an encoder with a head: its first layers, and the embeddings, learn nothing; 0: all do
    layer_decay: float = 1.0  # of an encoder with a head: factor on the learning rate from each layer to the one below
    clip_norm: float = 1.0  # bound on the gradient's global norm; 0: no clipping
    accumulate: int = 1  # batches whose gradients are summed for one optimiser step
    precision: str = "float32"  # of the computation: 'float32', 'bfloat16', or 'float16' with loss scaling
    label_smoothing: float = 0.1  # section 5.4
    averaging: float = 0.0  # decay of the moving average of the weights, over some 1/(1 - averaging) steps; 0: none
    average_checkpoints: int = 0  # at the end, also try the mean of the weights of so many validations; 0: do not
    average_which: str = "last"  # the 'last' or the 'best' validations
    bad_steps: str = "stop"  # where loss or gradient is no number or explodes: 'stop' the run or 'skip' the step
    validate_every: int = 1000  # optimiser steps
    score_examples: int = 500  # validation examples that the task scores (translation: greedily, for BLEU); 0: none
    select_by: str = "score"  # chooses the best weights: the task's 'score' (of ties, the loss), or 'loss' alone
    patience: int = 0  # validations with neither new best weights nor a lower loss that end the run; 0: none do
    save_every: int = 0  # optimiser steps between checkpoints; 0: one at each validation
    log_every: int = 50  # optimiser steps
    tensorboard: bool = False  # also write the metrics for TensorBoard, with the extra [tensorboard]
    init_from: str = ""  # run whose vocabulary and best weights a new run starts from; empty: none

    def __post_init__(self) -> None:
        for name in ("max_steps", "warmup_steps", "validate_every", "log_every", "accumulate"):
            require_positive(name, getattr(self, name))
        amounts = ("max_minutes", "peak_learning_rate", "clip_norm", "score_examples", "weight_decay")
        for name in (*amounts, "average_checkpoints", "patience", "save_every", "freeze_layers"):
            require(getattr(self, name) >= 0, name, "at least 0", getattr(self, name))
        for name in ("beta_1", "beta_2", "label_smoothing", "averaging", "learning_rate_floor"):
            require_rate(name, getattr(self, name))
        require_positive("epsilon", self.epsilon)
        require(0 < self.layer_decay <= 1, "layer_decay", "above 0 and at most 1", self.layer_decay)
        require(0 <= self.seed < 2**31, "seed", "at least 0 and below 2^31", self.seed)
        require_choice("schedule", self.schedule, ("noam", *DECAYS))
        require_choice("precision", self.precision, PRECISIONS)
        require_choice("average_which", self.average_which, ("last", "best"))
        require_choice("bad_steps", self.bad_steps, ("stop", "skip"))
        require_choice("select_by", self.select_by, ("score", "loss"))


@dataclass(frozen=True)
class SearchConfig:
    """How translations are searched. A run keeps what it was begun with: new defaults are for new runs."""

    beam_size: int = 4  # 1: greedy; with a temperature: samples of a sentence
    length_penalty: float = 1.0  # alpha of the penalty: scores are log-probabilities divided by it
    penalty: str = "length"  # 'length': length^alpha; 'gnmt': ((5 + length) / 6)^alpha (Wu et al. 2016, section 7)
    coverage_penalty: float = 0.0  # beta of Wu et al. 2016, equation 14
    finished: str = "leave"  # hypotheses 'leave' the beam till there are beam_size, or 'compete' for places in it
    max_length: int = 0  # longest output in tokens; 0: source length + max_extra_length
    max_extra_length: int = 50  # Vaswani et al. 2017, section 6.1
    max_length_ratio: float = 0.0  # longest output, as a multiple of the source length; 0: no such limit
    min_length: int = 0  # shortest output in tokens, without the end token
    min_length_ratio: float = 0.0  # shortest output, as a multiple of the source length
    no_repeat_ngram: int = 0  # no n-gram of this many tokens occurs twice; 0: any may
    temperature: float = 0.0  # above 0: sample tokens from the logits divided by it, instead of searching
    top_k: int = 0  # sample from so many likeliest tokens; 0: all
    top_p: float = 1.0  # sample from the fewest likeliest tokens with this much probability together
    min_p: float = 0.0  # sample from tokens at least this share as likely as the likeliest (Nguyen et al. 2024); 0: all
    typical_p: float = 1.0  # sample from the fewest typical tokens with so much probability (Meister et al. 2023)
    repetition_penalty: float = 1.0  # above 1: tokens that were there before are less likely (Keskar et al. 2019)
    seed: int = 1  # of sampling
    batch_tokens: int = 4096  # source tokens translated together
    cut: str = "sentences"  # 'sentences' are translated one by one; 'long': a text is cut where it is too long to read

    def __post_init__(self) -> None:
        require(1 <= self.beam_size <= 64, "beam_size", "from 1 to 64", self.beam_size)
        require_choice("penalty", self.penalty, PENALTIES)
        require_choice("finished", self.finished, FINISHED)
        require_choice("cut", self.cut, CUTS)
        require(0 <= self.seed < 2**31, "seed", "from 0 to 2147483647", self.seed)
        for name in ("length_penalty", "coverage_penalty", "max_length_ratio", "min_length_ratio"):
            require(0 <= getattr(self, name) <= 10, name, "from 0 to 10", getattr(self, name))
        # Below, only the likeliest token is sampled anyhow, and logits divided by it may be too large for float32.
        usable = self.temperature == 0 or 1e-3 <= self.temperature <= 10
        require(usable, "temperature", "0 or from 0.001 to 10", self.temperature)
        for name in ("max_length", "max_extra_length", "min_length", "no_repeat_ngram", "top_k"):
            require(getattr(self, name) >= 0, name, "at least 0", getattr(self, name))
        for name in ("top_p", "typical_p"):
            require(SMALLEST_TOP_P <= getattr(self, name) <= 1, name, "from 0.000001 to 1", getattr(self, name))
        require(0 <= self.min_p <= 1, "min_p", "from 0 to 1", self.min_p)
        require(0.1 <= self.repetition_penalty <= 10, "repetition_penalty", "from 0.1 to 10", self.repetition_penalty)
        require(self.no_repeat_ngram <= 100, "no_repeat_ngram", "at most 100", self.no_repeat_ngram)
        require(1 <= self.batch_tokens <= 2**16, "batch_tokens", "from 1 to 65536", self.batch_tokens)
        if self.max_length:
            require(self.min_length < self.max_length, "min_length", "below max_length", self.min_length)
