"""The settings of each task, which are the section [task] of a config."""

import dataclasses
from dataclasses import dataclass

from transformer.config.checks import require, require_choice, require_positive


@dataclass(frozen=True)
class TranslationSettings:
    """From a sentence of one language to a sentence of another."""

    name: str = "translation"
    source_language: str = ""  # two-letter code; empty: read from a TFDS name, or not known
    target_language: str = ""


DOCUMENTS = ("file", "blank_line", "line")  # what a document of a text file is


@dataclass(frozen=True)
class LanguageModelSettings:
    """From a text to its next token."""

    name: str = "language-model"
    documents: str = "file"  # one is a 'file', ends at a 'blank_line', or is a 'line'; of JSON lines, always a line
    validation_share: float = 0.1  # of the characters, the last ones, where the source has no validation split
    cross_documents: bool = True  # whether a token sees the documents before its own in the window
    start_token: bool = True  # whether a document, and thus a prompt, begins with the start token
    language: str = "en"  # of the phrasebook's sentences

    def __post_init__(self) -> None:
        require_choice("documents", self.documents, DOCUMENTS)
        require(0 < self.validation_share < 1, "validation_share", "above 0 and below 1", self.validation_share)
        require_choice("language", self.language, ("pt", "en", "zh"))


SENTENCES = ("line", "paragraph")  # what a sentence of a document is; a paragraph ends at a blank line


@dataclass(frozen=True)
class MaskedLMSettings:
    """From a text with masked tokens to these tokens, and from two sentences to whether one follows the other."""

    name: str = "masked-lm"
    documents: str = "line"  # one is a 'file', ends at a 'blank_line', or is a 'line'; of JSON lines, always a line
    sentences: str = "line"  # of a document: its lines or, of a 'file', each 'paragraph'
    document_sentences: int = 0  # a document ends after so many sentences at the latest; 0: it may have any number
    validation_share: float = 0.1  # of the characters, the last ones, where the source has no validation split
    language: str = "en"  # of the phrasebook's sentences
    lower_case: bool = False  # a vocabulary that is learned leaves out case and accents; WordPiece alone can
    mask_rate: float = 0.15  # of the tokens (Devlin et al. 2019, section 3.1, Task 1)
    whole_words: bool = False  # all pieces of a word are masked, or none
    next_sentence: bool = True  # learned too, where there are documents with several sentences
    segments: int = 2  # kinds of segment; the first and second sentence of a pair are 0 and 1
    pooler: bool = False  # kept where no next sentence trains it, as imported models have it

    def __post_init__(self) -> None:
        require_choice("documents", self.documents, DOCUMENTS)
        require_choice("sentences", self.sentences, SENTENCES)
        lines = self.sentences == "line" or self.documents == "file"
        require(lines, "sentences", "'line' unless documents = 'file': blank lines end the others", self.sentences)
        require(self.document_sentences >= 0, "document_sentences", "at least 0", self.document_sentences)
        require(self.document_sentences != 1, "document_sentences", "0 or at least 2", self.document_sentences)
        require(0 < self.validation_share < 1, "validation_share", "above 0 and below 1", self.validation_share)
        require_choice("language", self.language, ("pt", "en", "zh"))
        require(0 < self.mask_rate < 1, "mask_rate", "above 0 and below 1", self.mask_rate)
        require(1 <= self.segments <= 64, "segments", "from 1 to 64", self.segments)
        require(self.segments > 1 or not self.next_sentence, "segments", "at least 2 with next_sentence", self.segments)


PHRASEBOOK_LANGUAGES = ("all", "pt", "en", "zh")
TOKEN_RATES = ("mask_rate", "delete_rate", "infill_rate", "sentinel_rate")


@dataclass(frozen=True)
class DenoisingSettings:
    """From a noised text to the text as it was.

    A token has one fate: it is masked, deleted, in a span that is replaced by one mask or by a sentinel, or left. So
    the rates of these, shares of the tokens, are at most 1 together. The other two rates are shares of the texts.
    """

    name: str = "denoising"
    mask_rate: float = 0.0  # of the tokens, each replaced by the mask (Lewis et al. 2020, section 2.2)
    delete_rate: float = 0.0  # of the tokens
    infill_rate: float = 0.3  # of the tokens, in spans that are each replaced by one mask; empty spans insert one
    sentinel_rate: float = (
        0.0  # of the tokens, in spans that are the target, each behind a sentinel (Raffel et al. 2020)
    )
    span_length: float = 3.0  # mean length of a span in tokens; of infilled ones, a Poisson distribution's
    permute_rate: float = 0.0  # of the texts, whose sentences are put in a random order
    rotate_rate: float = 0.0  # of the texts, which begin at a random token, and go on with what stood before it
    sentinels: int = 100  # that a vocabulary gets where sentinel_rate is above 0
    documents: str = "line"  # a text is a 'line', ends at a 'blank_line', or is a 'file'; of JSON lines, always a line
    language: str = "all"  # of the phrasebook's sentences

    def __post_init__(self) -> None:
        for name in (*TOKEN_RATES, "permute_rate", "rotate_rate"):
            require(0 <= getattr(self, name) <= 1, name, "from 0 to 1", getattr(self, name))
        total = round(sum(getattr(self, name) for name in TOKEN_RATES), 6)
        require(total <= 1, " + ".join(TOKEN_RATES), "at most 1, as a token has one fate", total)
        some = total + self.permute_rate + self.rotate_rate > 0
        require(some, "one of the rates", "above 0: without noise there is nothing to restore", 0)
        alone = not self.sentinel_rate or self.mask_rate == self.delete_rate == self.infill_rate == 0
        rule = "0 unless mask_rate, delete_rate and infill_rate are, as the spans alone are its target"
        require(alone, "sentinel_rate", rule, self.sentinel_rate)
        require(self.span_length >= 1, "span_length", "at least 1", self.span_length)
        require(2 <= self.sentinels <= 1000, "sentinels", "from 2 to 1000", self.sentinels)
        require_choice("documents", self.documents, DOCUMENTS)
        require_choice("language", self.language, PHRASEBOOK_LANGUAGES)

    @property
    def validation_share(self) -> float:
        """None of the last characters: where the source has no validation split, whole texts are taken for one."""
        return 0.0


CLASS_WEIGHTS = ("none", "balanced")


@dataclass(frozen=True)
class ClassificationSettings:
    """From a text, or a pair of texts, to its label."""

    name: str = "classification"
    kind: str = "single"  # a text has a 'single' label, 'several' or none, or a 'number'
    text: tuple[str, ...] = ()  # columns or keys of the text, or of both; empty: 'text', else column 1
    label: str = ""  # of the label; empty: 'label', else column 2
    skip_header: bool = False  # whether the first line of a table names its columns, where numbers are given
    separator: str = ","  # between several labels
    pooling: str = "first"  # what the head reads: the pooled 'first' token, or the 'mean' of all states
    class_weights: str = "none"  # 'balanced': every class counts as much as any other, however rare it is
    metric: str = ""  # that chooses the best weights; empty: accuracy, micro_f1 of several labels, or spearman
    language: str = "all"  # of the phrasebook's sentences

    def __post_init__(self) -> None:
        require_choice("kind", self.kind, ("single", "several", "number"))
        require(len(self.text) <= 2, "text", "one column or two", self.text)
        require(bool(self.separator.strip()), "separator", "a sign that is no space", self.separator)
        require_choice("pooling", self.pooling, ("first", "mean"))
        require_choice("class_weights", self.class_weights, CLASS_WEIGHTS)
        require_choice("language", self.language, PHRASEBOOK_LANGUAGES)


@dataclass(frozen=True)
class TaggingSettings:
    """From the words of a text to a tag of each."""

    name: str = "tagging"
    word: str = ""  # column of the word, by number or name; empty: the first
    tag: str = ""  # of its tag; empty: the last
    scheme: str = "iob2"  # how tags mark entities: 'iob2', 'bioes', or 'plain' (each tag for itself)
    class_weights: str = "none"  # 'balanced': every tag counts as much as any other, however rare it is
    metric: str = ""  # that chooses the best weights; empty: f1 of entities, or accuracy of plain tags
    language: str = "all"  # of the phrasebook's sentences

    def __post_init__(self) -> None:
        require_choice("scheme", self.scheme, ("iob2", "bioes", "plain"))
        require_choice("class_weights", self.class_weights, CLASS_WEIGHTS)
        require_choice("language", self.language, PHRASEBOOK_LANGUAGES)


@dataclass(frozen=True)
class QuestionAnsweringSettings:
    """From a question and a text to the part of the text that answers it."""

    name: str = "question-answering"
    stride: int = 128  # tokens that two windows of a long text have in common
    longest_question: int = 64  # tokens, of which the last are cut off
    longest_answer: int = 30  # tokens
    test_share: float = 0.0  # of the training texts, taken away as a test split
    split_seed: int = 1  # chooses them
    metric: str = ""  # that chooses the best weights; empty: f1

    def __post_init__(self) -> None:
        for name in ("longest_question", "longest_answer"):
            require_positive(name, getattr(self, name))
        require(self.stride >= 0, "stride", "at least 0", self.stride)
        require(0 <= self.test_share < 1, "test_share", "at least 0 and below 1", self.test_share)


EXAMPLES = ("pairs", "triplets", "sentences")
SENTENCE_ENCODERS = ("bert", "transformer", "bag")


@dataclass(frozen=True)
class ContrastiveSettings:
    """From a text to a vector that is near to those of texts that mean the same."""

    name: str = "contrastive"
    examples: str = "pairs"  # 'pairs' of texts; 'triplets' with a hard negative; 'sentences', read twice under dropout
    source_language: str = ""  # two-letter code of the first text of a pair; empty: read from a TFDS name, or not known
    target_language: str = ""
    encoder: str = "bert"  # 'transformer': that of an encoder-decoder, such as a translator's; 'bag': vectors alone
    pooling: str = "mean"  # of a text's states, 'first' or 'max'
    norm_pooled: bool = False  # with model.norm_first: the final norm is that of the pooled vector, not of each state
    projection: int = 0  # numbers of a vector, made from the pooled state by a dense layer; 0: the pooled state itself
    temperature: float = 0.05
    denominator: str = "positives"  # what an anchor is compared with: the 'positives' of all pairs, or their 'anchors'
    symmetric: bool = True  # positives look for their anchors, too
    sizes: tuple[str, ...] = ()  # numbers of a vector that are of use alone, such as ["32", "128"]; empty: all of them
    chunk_rows: int = 0  # rows of a batch that are embedded at a time, so that it may be larger than memory; 0: all

    def __post_init__(self) -> None:
        require_choice("examples", self.examples, EXAMPLES)
        require_choice("encoder", self.encoder, SENTENCE_ENCODERS)
        require_choice("pooling", self.pooling, ("mean", "first", "max"))
        require_choice("denominator", self.denominator, ("positives", "anchors"))
        require(0.001 <= self.temperature <= 100, "temperature", "from 0.001 to 100", self.temperature)
        require(0 <= self.projection <= 2**14, "projection", "from 0 to 16384", self.projection)
        require(self.chunk_rows >= 0, "chunk_rows", "at least 0", self.chunk_rows)
        sizes = all(size.isdigit() and 0 < int(size) <= 2**14 for size in self.sizes)
        require(sizes, "sizes", 'whole numbers in quotes, such as ["32", "128"]', self.sizes)


SETTINGS: dict[str, type] = {  # by the task's name
    "translation": TranslationSettings,
    "language-model": LanguageModelSettings,
    "masked-lm": MaskedLMSettings,
    "denoising": DenoisingSettings,
    "classification": ClassificationSettings,
    "tagging": TaggingSettings,
    "question-answering": QuestionAnsweringSettings,
    "contrastive": ContrastiveSettings,
}


def register_settings(name: str, settings: type) -> None:
    """Make the settings of a user's own task known, so that a config can name it.

    Args:
        name: of the task.
        settings: frozen dataclass whose first field is `name`, with the task's name as its default.

    Raises:
        ValueError: it is no such class.
    """
    fields = dataclasses.fields(settings) if dataclasses.is_dataclass(settings) else ()
    named = fields and (fields[0].name, fields[0].default) == ("name", name)
    require(bool(named), f"Settings of task '{name}'", f"a dataclass that begins with name: str = '{name}'", settings)
    SETTINGS[name] = settings
