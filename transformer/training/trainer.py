"""The training loop: one optimizer step after another, validation, checkpoints, resume."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from transformer.checkpoints import (
    BEST,
    LAST,
    RunDirectory,
    build_model,
    check_same_run,
    load_arrays,
    model_variables,
    numbered,
    save_arrays,
)
from transformer.config import PAD_ID, Config, UserError
from transformer.data.corpora import open_corpus
from transformer.data.pipeline import batches, cleaned_pairs, tokenised_shards
from transformer.data.tokenizers import train_tokenizers
from transformer.evaluation import bleu
from transformer.inference.translator import Translator
from transformer.training.losses import projected_loss
from transformer.training.progress import Position, Progress
from transformer.training.schedules import make_schedule

IDS = tf.TensorSpec((None, None), tf.int32)
REMEDY = "lower training.peak_learning_rate or raise training.warmup_steps, and start again in another --run"


class Trainer:
    """Trains a model on the corpus of a config, in a run directory.

    The loop is ours rather than `fit` because only it works under every `tf.distribute` strategy, divides by the real
    target tokens of the whole batch, and knows its position inside an epoch. `fit` stays possible.

    Args:
        config: what to train on what, and how.
        run: where to keep it. A run that was begun there with the same config is continued.

    Raises:
        UserError: bad input, an unusable directory, or another run in it.
    """

    def __init__(self, config: Config, run: RunDirectory):
        self.config, self.run = config, run
        begun = run.exists()
        if begun:
            check_same_run(run.config(), config, run.path)
        keras.utils.set_random_seed(config.training.seed)
        self.corpus = open_corpus(config.data)
        if begun:
            if run.corpus()["fingerprint"] != self.corpus.fingerprint():
                raise UserError(f"{run.path} was trained on another corpus; choose another --run or remove it")
            self.tokenizers = run.tokenizers()
        else:
            self.corpus.check()
            self._say(f"learning the vocabulary from {self.corpus.name}")
            self.tokenizers = train_tokenizers(lambda: cleaned_pairs(self.corpus, "train", config), config.text)
        self.shards = tokenised_shards(self.corpus, "train", self.tokenizers, config)
        self.validation_shards = tokenised_shards(self.corpus, "validation", self.tokenizers, config)
        self._say(f"training pairs: {self.shards.cleaning}; {self.shards.too_long} too long")
        self.strategy = tf.distribute.get_strategy()
        with self.strategy.scope():
            self.model = build_model(config.model, self.tokenizers)
            self.optimizer = self._build_optimizer()
        self.position = Position()
        if begun and run.weights(LAST).exists():
            self.position = Position(**load_arrays(run.weights(LAST), self._state()))
            self._say(f"continuing at step {self.position.step:,}")
        if begun:
            run.cut_metrics(self.position.step)
        else:
            facts = {
                "name": self.corpus.name,
                "source_language": self.corpus.source_language,
                "target_language": self.corpus.target_language,
                "fingerprint": self.corpus.fingerprint(),
            }
            run.create(config, self.tokenizers, facts)

    @staticmethod
    def _say(message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    def _build_optimizer(self) -> keras.optimizers.Optimizer:
        training = self.config.training
        try:
            schedule = make_schedule(
                training.schedule,
                self.config.model.d_model,
                training.peak_learning_rate,
                training.warmup_steps,
                training.max_steps,
            )
        except ValueError as error:
            raise UserError(f"[training] {error}") from None
        optimizer = keras.optimizers.Adam(
            schedule,
            beta_1=training.beta_1,
            beta_2=training.beta_2,
            epsilon=training.epsilon,
            use_ema=training.averaging > 0,
            ema_momentum=training.averaging or 0.99,
            ema_overwrite_frequency=None,
        )
        optimizer.build(self.model.trainable_variables)
        return optimizer

    def _state(self) -> dict[str, keras.Variable]:
        """Everything that decides how training goes on: weights, optimizer slots, dropout's random states."""
        return {
            **model_variables(self.model),
            **numbered("optimizer", self.optimizer.variables),
            **numbered("random", self.model.non_trainable_variables),
        }

    def _averages(self) -> list[keras.Variable]:
        return self.optimizer._model_variables_moving_average if self.config.training.averaging else []

    def loss(self, source_ids, target_in, target_out, training: bool, smoothing: float) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the summed loss in nats and the number of real target tokens of a batch."""
        outputs, _ = self.model.decode(source_ids, target_in, training=training)
        real = tf.not_equal(target_out, PAD_ID)
        total = projected_loss(
            tf.boolean_mask(outputs, real), *self.model.output_table(), tf.boolean_mask(target_out, real), smoothing
        )
        return total, tf.reduce_sum(tf.cast(real, tf.float32))

    def _replica_step(self, source_ids, target_in, target_out):
        training = self.config.training
        weights = self.model.trainable_variables
        with tf.GradientTape() as tape:
            total, tokens = self.loss(source_ids, target_in, target_out, True, training.label_smoothing)
            all_tokens = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tokens)
            # The optimizer sums over replicas, so each divides by the tokens of all.
            mean = total / tf.maximum(all_tokens, 1.0)
        gradients = tape.gradient(mean, weights)
        if training.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, training.clip_norm)
        self.optimizer.apply(gradients, weights)
        return total, tokens

    def _sum_over_replicas(self, step: Callable, batch) -> tuple[tf.Tensor, ...]:
        results = self.strategy.run(step, batch)
        return tuple(self.strategy.reduce(tf.distribute.ReduceOp.SUM, part, axis=None) for part in results)

    @tf.function(input_signature=[IDS, IDS, IDS])
    def train_step(self, source_ids, target_in, target_out):
        """One optimizer step; returns the summed training loss and the number of target tokens."""
        return self._sum_over_replicas(self._replica_step, (source_ids, target_in, target_out))

    @tf.function(input_signature=[IDS, IDS, IDS])
    def validation_step(self, source_ids, target_in, target_out):
        """Return the summed loss, without dropout and smoothing, and the number of target tokens."""
        return self._sum_over_replicas(
            lambda *batch: self.loss(*batch, training=False, smoothing=0.0), (source_ids, target_in, target_out)
        )

    def _batches(self) -> Iterator:
        """Batches from the current position on, epoch after epoch, without end."""
        while True:
            epoch = batches(self.shards, self.config.data, self.config.training.seed, self.position.epoch)
            empty = self.position.batch == 0
            for (source_ids, target_in), target_out in epoch.skip(self.position.batch):
                empty = False
                self.position.batch += 1
                yield source_ids, target_in, target_out
            if empty:
                raise RuntimeError("an epoch without a batch")
            self.position.epoch, self.position.batch = self.position.epoch + 1, 0

    def done(self) -> bool:
        """Return whether the run has reached its length."""
        training = self.config.training
        late = training.max_minutes and self.position.seconds >= 60 * training.max_minutes
        return bool(late or self.position.step >= training.max_steps)

    def train(self) -> Position:
        """Train to the configured length; returns the final position. The best and last weights are on disk.

        Raises:
            UserError: the loss is no longer a number, or a file cannot be written.
        """
        training = self.config.training
        if self.done():
            self._say(f"{self.run.path} is complete after {self.position.step:,} steps; raise --max-steps to go on")
            return self.position
        progress = Progress(self.position, training)
        clock = time.monotonic()
        for batch in self._batches():
            total, tokens = (float(part) for part in self.train_step(*batch))
            if not math.isfinite(total):
                raise UserError(f"the loss is {total} at step {self.position.step + 1}; {REMEDY}")
            self.position.step += 1
            clock = self._spend(clock)
            progress.add(total, tokens)
            last = self.done()
            if self.position.step % training.log_every == 0 or last:
                self._log({"event": "train", **progress.summary(), "learning_rate": self._learning_rate()})
                progress.show()
            if self.position.step % training.validate_every == 0 or last:
                self.validate()
                progress.leave_out(time.monotonic() - clock)
                clock = self._spend(clock)
                self.save()
            if self.done():
                return self.position

    def _spend(self, clock: float) -> float:
        """Count the seconds since `clock` and return the time now."""
        now = time.monotonic()
        self.position.seconds += now - clock
        return now

    def _learning_rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))

    def save(self) -> None:
        """Save everything that a resumed run needs."""
        save_arrays(self.run.weights(LAST), self._state(), dataclasses.asdict(self.position))

    def validate(self) -> None:
        """Score the validation pairs with the averaged weights, where there are any, and keep the best weights."""
        weights = self.model.trainable_variables
        averages = self._averages()
        raw = [variable.numpy() for variable in weights] if averages else []
        for variable, average in zip(weights, averages, strict=False):
            variable.assign(average)
        try:
            self._score()
        finally:
            for variable, value in zip(weights, raw, strict=False):
                variable.assign(value)

    def _score(self) -> None:
        sums = np.zeros(2)
        for (source_ids, target_in), target_out in batches(self.validation_shards, self.config.data):
            sums += [float(part) for part in self.validation_step(source_ids, target_in, target_out)]
        loss = sums[0] / sums[1]
        if not math.isfinite(loss):
            raise UserError(f"the validation loss is {loss} after step {self.position.step}; {REMEDY}")
        record = {"event": "validation", "step": self.position.step, "loss": loss}
        score = -loss
        if wanted := self.config.training.validation_bleu_pairs:
            score = record["bleu"] = self._validation_bleu(wanted)
        if score > self.position.best_score:
            self.position.best_score, self.position.best_step = score, self.position.step
            save_arrays(self.run.weights(BEST), model_variables(self.model), {"step": self.position.step})
        figures = f"loss {loss:.3f} nats/token" + (f", BLEU {score:.2f} (greedy)" if wanted else "")
        self._say(f"\nvalidation after step {self.position.step:,}: {figures}; best at {self.position.best_step:,}")
        self._log({**record, "best_step": self.position.best_step, "seconds": round(self.position.seconds, 1)})

    def _validation_bleu(self, wanted: int) -> float:
        pairs = self.corpus.pairs("validation")
        sources, references = zip(*(pair for pair, _ in zip(pairs, range(wanted), strict=False)), strict=True)
        hypotheses = [best[0].text for best in self._greedy.translate(sources)]
        return bleu(hypotheses, references, self.corpus.target_language).score

    @property
    def _greedy(self) -> Translator:
        if not hasattr(self, "_translator"):
            search = dataclasses.replace(self.config.search, beam_size=1)
            self._translator = Translator(self.model, self.tokenizers, search, self.config.model.max_positions)
        return self._translator

    def _log(self, record: dict[str, object]) -> None:
        try:
            with open(self.run.metrics, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise UserError(f"cannot write {self.run.metrics}: {error.strerror}; free space") from None


def train(config: Config, run: str | Path) -> Position:
    """Train what a config describes in a run directory, or continue the run that is there.

    Raises:
        UserError: see `Trainer`.
    """
    return Trainer(config, RunDirectory(run)).train()
