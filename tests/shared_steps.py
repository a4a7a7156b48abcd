"""Trainers that share their compiled steps, whose tracing is most of the work of a tiny run.

A trainer whose network, optimizer and settings of a step equal those of an earlier one takes over that one's graphs,
after each variable in them was given the value that its own was built with.
"""

import dataclasses

from transformer.training import trainer

# Settings of [training] that say when something is done, but not what a step is. The optimizer knows its own schedule.
NOT_OF_A_STEP = {"max_steps", "max_minutes", "validate_every", "save_every", "log_every", "patience", "seed"}
NOT_OF_A_STEP |= {"average_checkpoints", "average_which", "select_by", "score_examples", "validation_bleu_pairs"}
NOT_OF_A_STEP |= {"init_from", "tensorboard"}


class _Shared:
    """Steps, their attributes when they were new, and whether a trainer has them."""

    def __init__(self, steps):
        self.steps, self.new, self.taken = steps, dict(vars(steps)), False

    def become(self, fresh):
        """Put the steps into the state of others that have just been made."""
        graph = vars(self.steps).get("_train_graph")  # the one attribute that `Steps` adds later
        vars(self.steps).clear()
        vars(self.steps).update(self.new, **({"_train_graph": graph} if graph else {}))
        for ours, theirs in (
            (self.steps.model.variables, fresh.model.variables),
            (self.steps.optimizer.variables, fresh.optimizer.variables),
            (self.steps._sums, fresh._sums),
        ):
            for variable, value in zip(ours, theirs, strict=True):
                variable.assign(value)


_known = {}


def _key(steps):
    training = {name: v for name, v in dataclasses.asdict(steps.training).items() if name not in NOT_OF_A_STEP}
    shapes = [(v.path, tuple(v.shape), v.dtype) for v in steps.model.variables]
    return repr((steps.model.get_config(), shapes, steps.optimizer.get_config(), training))


class Trainer(trainer.Trainer):
    """The package's trainer, on one device."""

    @property
    def steps(self):
        return self._steps

    @steps.setter
    def steps(self, fresh):
        known = _known.setdefault(_key(fresh), [])
        for shared in known:
            if not shared.taken:
                shared.become(fresh)
                break
        else:
            shared = _Shared(fresh)
            known.append(shared)
        shared.taken = True
        self._steps, self.model, self.optimizer = shared.steps, shared.steps.model, shared.steps.optimizer


def taken():
    """Return what trainers have now."""
    return {shared for known in _known.values() for shared in known if shared.taken}


def give_back(keep=frozenset()):
    """Let later trainers have what is taken, but for some; the trainers that had it must not be used again."""
    for shared in taken() - keep:
        shared.taken = False


def forget():
    """Drop all graphs."""
    _known.clear()
