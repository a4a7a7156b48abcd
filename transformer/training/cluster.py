"""The devices and processes that train one model together."""

import json
import os

import tensorflow as tf

from transformer.config.settings import STRATEGIES
from transformer.system.errors import UserError
from transformer.system.threads import PARALLEL, share_cores


def parallel_micro_batches(strategy: tf.distribute.Strategy) -> int:
    """Return into how many micro-batches a step cuts its batch: some on a CPU, one on a GPU and on each replica.

    Two cores that work on a micro-batch each never wait for each other inside an operation, as they do where they
    share every small matrix multiplication. `benchmarks/training_speed.py` has the figures.
    """
    alone_on_cpu = strategy.num_replicas_in_sync == 1 and not tf.config.list_logical_devices("GPU")
    return PARALLEL if alone_on_cpu else 1


def open_strategy(name: str) -> tf.distribute.Strategy:
    """Return the `tf.distribute` strategy of a name; call it before any other TensorFlow operation.

    Args:
        name: 'single': one device; 'mirrored': all GPUs of this machine; 'multiworker': one process on each of several
            machines, as TF_CONFIG says or, where that is not set, SLURM's variables.

    Raises:
        UserError: an unknown name, or no description of the machines.
    """
    if name == "single":
        share_cores()
        return tf.distribute.get_strategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name != "multiworker":
        raise UserError(f"unknown strategy '{name}'; known: {', '.join(STRATEGIES)}")
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver())
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"the machines of --strategy multiworker are not described well: {error}") from None


def cluster_resolver() -> tf.distribute.cluster_resolver.ClusterResolver:
    """Return what TF_CONFIG or, where that is not set, SLURM's variables say of the machines.

    Raises:
        UserError: neither is there.
        ValueError, KeyError, TypeError, RuntimeError: they make no sense.
    """
    if os.environ.get("TF_CONFIG"):
        json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"]
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if "SLURM_PROCID" not in os.environ:
        raise UserError("--strategy multiworker needs to know the machines: set TF_CONFIG, or start it with srun")
    if tf.config.list_physical_devices("GPU"):
        return tf.distribute.cluster_resolver.SlurmClusterResolver()
    # Without GPUs the resolver would divide 0 of them by the tasks; this gives each task one that it never uses.
    return tf.distribute.cluster_resolver.SlurmClusterResolver(gpus_per_node=1024, gpus_per_task=1, auto_set_gpu=False)


class Cluster:
    """The part of this process in a job: `strategy`, `workers` (processes), whether it is the `chief`, which writes."""

    def __init__(self, strategy: tf.distribute.Strategy | None = None) -> None:
        self.strategy = strategy or tf.distribute.get_strategy()
        resolver = self.strategy.cluster_resolver
        spec = resolver.cluster_spec().as_dict() if resolver else {}
        self.workers = sum(len(spec.get(kind, ())) for kind in ("chief", "worker")) or 1
        chief_kind = "chief" if "chief" in spec else "worker"
        self.chief = self.workers == 1 or (resolver.task_type, resolver.task_id) == (chief_kind, 0)

    def agree(self, value: float = 0.0) -> float:
        """Return the chief's value on every worker; each waits here for all the others."""
        if self.workers == 1:
            return value

        @tf.function
        def total(part: tf.Tensor) -> tf.Tensor:
            def of_all_replicas() -> tf.Tensor:
                context = tf.distribute.get_replica_context()
                first = tf.equal(context.replica_id_in_sync_group, 0)  # the chief's first device
                return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.where(first, part, 0.0))

            return self.strategy.experimental_local_results(self.strategy.run(of_all_replicas))[0]

        return float(total(tf.constant(value, tf.float32)))
