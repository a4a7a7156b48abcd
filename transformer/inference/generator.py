"""From prompts to texts.

Axes: B texts that are continued together, P tokens of a prompt, T tokens that the cache has places for.
"""

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import BEST, RunDirectory
from transformer.config.run import MOST_CACHE, Config
from transformer.config.settings import SearchConfig
from transformer.ids import PAD_ID, UNKNOWN_ID
from transformer.inference.generated_text import Generation, GrowingText
from transformer.inference.text_scores import TextScore, TextScorer
from transformer.models.gpt import GPT
from transformer.search.continuation import Continuer, Reading, of_graphs
from transformer.search.searcher import Searchers, left_padded
from transformer.system.errors import UserError
from transformer.system.threads import refuse_fork
from transformer.tasks import other_command
from transformer.tasks.language_model import LanguageModel

DEFAULT_TOKENS = 256  # that follow a prompt, where `search.max_length` is 0
TOGETHER = 32  # texts that are continued together
FIRST_CAPACITY = 128  # places of the shortest cache; they double when they are used up, which takes a new compilation
STEPS_BEFORE_COMPILING = 2048  # tokens of a shape after which the two seconds that XLA takes for it are earned back
STEPS_UNSEEN = 256  # tokens that are chosen before anybody looks for stop strings; a call takes as long as four tokens
STEPS_STREAMED = 8  # the same where texts are streamed

MOST_CONTINUERS = 16  # whose graphs are kept; a server's clients may ask for any settings

Stream = Callable[[int, int, str], object]


class Generator:
    """Continues texts with a trained language model.

    A prompt is read at once, and its continuation token by token from a cache, greedily, by beam search or by sampling;
    see `SearchConfig` for the settings. The model reads `data.max_tokens` tokens at once, its context. When that is
    full, it slides by half: the positions of all tokens change, so that they are read again, and the first half is
    forgotten. What has been read at a token depends on the number of tokens before it alone: a text goes on the same
    way whether its first part was a prompt or generated.

    A sampled text depends on the seed, the prompt and the number of the sample alone, but for rounding: not on the
    other prompts, on the cache, or on XLA. Rounding may tip the scales where two tokens are equally likely.

    Rules about repetition look at what the model reads, the prompt among it; in beam search, at what follows the
    prompt.

    Args:
        task: of the run.
        network: its network.
        search: how to search; a `beam_size` above 1 counts where there is no temperature.
        compile_after: tokens of a shape that are chosen before XLA compiles it; 0: at once.

    Use: `Generator.load(run).generate(["The cat sat on the"])`.
    """

    def __init__(
        self, task: LanguageModel, network: GPT, search: SearchConfig, compile_after: int = STEPS_BEFORE_COMPILING
    ) -> None:
        self.task, self.network, self.compile_after = task, network, compile_after
        self.context = task.window
        self._scorers: dict[int, TextScorer] = {}
        self._continuers: dict[SearchConfig, Continuer] = {}  # by the settings that their graphs depend on
        self._searchers = Searchers([network], prompts=True)
        self._use(search)

    @classmethod
    def load(cls, run: str | Path, which: str = BEST, **search: float | str) -> Self:
        """Load the generator of a run directory.

        Args:
            run: the directory.
            which: `best` or `last` weights.
            search: overrides settings of the run, whose `beam_size` is 1 unless it is given here.

        Raises:
            UserError: the run is missing, incomplete, damaged, of another architecture or of another task; a search
                value is out of range.
            RuntimeError: what `refuse_fork` raises.
        """
        refuse_fork()
        directory = RunDirectory(run)
        name = directory.config().task.name
        if name != LanguageModel.name:
            raise UserError(f"{directory.path} is a run of the task '{name}'{other_command(name)}")
        task, network = load(directory, which)
        assert isinstance(task, LanguageModel) and isinstance(network, GPT)  # as the config says
        config = task.config.override({"search": {"beam_size": 1, **search}}, "search")
        return cls(task, network, config.search)

    def with_search(self, **search: float | str) -> Self:
        """Return a generator with the same weights and other settings; those not named stay.

        They share their graphs: none is made again for settings that were used before, another seed or length.

        Raises:
            UserError: an unknown setting, or a value that is out of range.
        """
        other = copy.copy(self)
        other._use(Config(search=self.search).override({"search": search}, "search").search)
        return other

    def _use(self, search: SearchConfig) -> None:
        if search.temperature or search.beam_size == 1:
            search = dataclasses.replace(search, beam_size=1)
        self.search, self._searcher = search, self._searchers.searcher(search)
        key = of_graphs(search)
        continuer = self._continuers.pop(key, None) or Continuer(self.network, key)
        while len(self._continuers) >= MOST_CONTINUERS:
            del self._continuers[next(iter(self._continuers))]  # the one that was not asked for longest
        self._continuers[key] = self._continuer = continuer

    @property
    def traces(self) -> int:
        """Number of graphs made so far; lengths are open in them, so it does not grow with use."""
        return self._continuer.traces + self._searcher.traces

    def generate(
        self,
        prompts: Sequence[str],
        samples: int = 1,
        stop: Sequence[str] = (),
        stream: Stream | None = None,
        progress: Callable[[], object] | None = None,
    ) -> list[list[Generation]]:
        """Continue prompts; each gets as many texts as `samples`, of a beam the best first.

        A text ends with its document, at `search.max_length` tokens (`DEFAULT_TOKENS` where that is 0), or before the
        first stop string. A beam also ends where the context is full; its texts are cut at stop strings afterwards.

        Args:
            prompts: any strings, which may be empty; a lone surrogate in one is taken for a question mark.
            samples: texts of each prompt; at most the beam size, or any number with a temperature.
            stop: strings, none of them empty.
            stream: called with the number of a prompt, that of a sample, and the next piece of its text, which are the
                text when put together. No piece ends within a character. Those of a beam come in the end.
            progress: called every few tokens, of a beam after each group of prompts; what it raises ends the work.

        Raises:
            ValueError: an argument that is out of range.
            RuntimeError: what `refuse_fork` raises.
        """
        refuse_fork()
        most = None if self.search.temperature else self.search.beam_size
        if samples < 1 or (most is not None and samples > most):
            rule = "at least 1" if most is None else f"from 1 to {most} (the beam size) without a temperature"
            raise ValueError(f"samples must be {rule}, got {samples!r}")
        if isinstance(stop, str) or not all(stop):
            raise ValueError(f"stop must be a list of strings that are not empty, got {stop!r}")
        limit = self.search.max_length or DEFAULT_TOKENS
        texts = []
        for number, ids in enumerate(map(self.prompt, prompts)):
            for sample in range(samples):
                tell = functools.partial(stream, number, sample) if stream else None
                decode = self.task.tokenizer.decode
                texts.append(GrowingText(number, sample, ids.tolist(), decode, limit, tuple(stop), tell))
        if self.search.beam_size > 1:
            self._search(texts, samples, progress)
        else:
            for group in self._groups(texts):
                self._continue(group, STEPS_STREAMED if stream else STEPS_UNSEEN, progress)
        found: list[list[Generation]] = [[] for _ in prompts]
        for text in texts:
            found[text.prompt].append(text.finish())
        return found

    def prompt(self, text: str) -> np.ndarray:
        """Return the ids that a text begins with, (P,) int32, at least one."""
        return self.task.prompt(text.encode("utf-8", "replace").decode())

    def warnings(self, prompt: str) -> list[str]:
        """Return what a reader should know of a prompt."""
        ids, found = self.prompt(prompt), []
        if len(ids) > self.context:
            read = len(ids) - self._window_start(len(ids))
            found.append(
                f"the prompt has {len(ids):,} tokens, and the model reads {self.context:,} at once; the last {read:,} "
                "are read"
            )
        if unknown := int(np.sum(ids == UNKNOWN_ID)):
            found.append(f"the vocabulary lacks {unknown:,} characters of the prompt")
        return found

    def score(self, texts: Iterable[str], end: bool = False, stride: int = 0) -> list[TextScore]:
        """Return how likely each text is, `end`: its end too; texts may be longer than the context.

        Args:
            texts: any strings.
            end: whether the end token counts.
            stride: see `TextScorer`.

        Raises:
            ValueError: `stride` is not from 0 to the context.
            RuntimeError: what `refuse_fork` raises.
        """
        refuse_fork()
        if stride not in self._scorers:
            self._scorers[stride] = TextScorer(self.task, self.network, stride)
        return self._scorers[stride].score(texts, end)

    def _window_start(self, count: int) -> int:
        """Return how many of the first tokens the model does not read before it chooses what follows `count`."""
        stride = max(1, self.context // 2)
        return max(0, -(-(count - self.context) // stride)) * stride

    def _window(self, text: GrowingText) -> list[int]:
        return text.ids[self._window_start(len(text.ids)) :]

    def _groups(self, texts: Sequence[GrowingText]) -> list[list[GrowingText]]:
        """Return what is continued together: texts with prompts of like length, as many as the memory has room for."""
        size = max(1, min(TOGETHER, MOST_CACHE // ((self.context + 1) * self.task.config.model.cached)))
        order = sorted(texts, key=lambda text: len(text.ids))
        return [order[first : first + size] for first in range(0, len(order), size)]

    def _continue(self, texts: list[GrowingText], together: int, progress: Callable[[], object] | None) -> None:
        """Continue texts to their ends; they are looked at when so many tokens are chosen.

        Each pass reads the windows of the texts that go on and chooses tokens until a window is full.
        """
        while texts := [text for text in texts if not text.reason]:
            windows = list(map(self._window, texts))
            longest = max(map(len, windows))
            left = [text.limit - text.new for text in texts]
            count = min(self.context + 1 - longest, max(left))
            padding = (1 << (len(texts) - 1).bit_length()) - len(texts)  # rows that end at once
            limits = np.array([*left, *[1] * padding], np.int32)
            least = np.array([*(self.search.min_length - text.new for text in texts), *[0] * padding], np.int32)
            chances = np.zeros((len(limits), longest + count), np.float32)
            if self.search.temperature:
                for row, text in zip(chances, texts, strict=False):
                    row[longest:] = self._chances(text, count)
            prompts = left_padded([*windows, *[[PAD_ID]] * padding])
            capacity, done = self._capacity(longest + 1), 0
            reading = self._continuer.begin(prompts, capacity)
            while done < count and not reading.finished.all():
                if longest + done == capacity:
                    capacity = self._capacity(capacity + 1)
                    reading = self._continuer.with_capacity(reading, capacity)
                until = min(count, capacity - longest)  # tokens for which there are places
                steps = max(left) if capacity == self.context + 1 else until - done
                with_xla = self._compiled_pays((len(limits), capacity), steps)
                now = min(together, until - done)
                places = _of_length(chances, capacity)
                reading = self._continuer.go_on(reading, now, limits, least, places, self.search, with_xla)
                before, done = done, self._look(reading, texts, done)
                if not with_xla:
                    self._continuer.steps[len(limits), capacity] += done - before
                if progress:
                    progress()
                reading = reading.stopped(np.array([bool(text.reason) for text in texts] + [True] * padding))

    def _look(self, reading: Reading, texts: Sequence[GrowingText], done: int) -> int:
        """Add to texts what is new after `done` tokens; returns how many there are."""
        new, log_probabilities = reading.new, reading.log_probabilities
        for text, ids, logs in zip(texts, new[:, done:], log_probabilities[:, done:], strict=False):
            if not text.reason:
                text.add(ids, logs)
        return new.shape[1]

    def _capacity(self, places: int) -> int:
        capacity = FIRST_CAPACITY
        while capacity < places:
            capacity *= 2
        return min(capacity, self.context + 1)

    def _compiled_pays(self, shape: tuple[int, int], steps: int) -> bool:
        return self._continuer.steps[shape] + steps > self.compile_after

    def _chances(self, text: GrowingText, count: int) -> np.ndarray:
        """Return numbers from 0 to below 1 for the next tokens of a text, (count,): always the same for the same seed.

        They have 24 bits, as many as float32 tells apart everywhere below 1.
        """
        bits = np.random.Philox(key=[self.search.seed, text.sample]).random_raw(text.new + count)
        return ((bits[text.new :] >> np.uint64(40)) * 2.0**-24).astype(np.float32)

    def _search(self, texts: Sequence[GrowingText], samples: int, progress: Callable[[], object] | None) -> None:
        """Continue texts by beam search: the first `samples` hypotheses are the samples of a prompt."""
        per_token = self.search.beam_size * self.task.config.model.cached
        size = max(1, min(TOGETHER // self.search.beam_size, MOST_CACHE // (2 * self.context * per_token)))
        prompts = sorted(texts[::samples], key=lambda text: len(text.ids))
        for first in range(0, len(prompts), size):
            group = prompts[first : first + size]
            windows = list(map(self._window, group))
            limits = [min(t.limit, self.context + 1 - len(w)) for t, w in zip(group, windows, strict=True)]
            least = [min(self.search.min_length, most - 1) for most in limits]
            found = self._searcher(left_padded(windows), np.array(limits, np.int32), np.array(least, np.int32))
            for row, text in enumerate(group):
                for other in texts[text.prompt * samples : (text.prompt + 1) * samples]:
                    other.add(found.ids[row, other.sample], found.token_log_probabilities[row, other.sample])
            if progress:
                progress()


def _of_length(rows: np.ndarray, length: int) -> np.ndarray:
    """Return rows cut to a length, or padded with 0."""
    return np.pad(rows[:, :length], ((0, 0), (0, max(0, length - rows.shape[1]))))
