"""Waiting requests are put together and answered as one batch by one thread."""

import dataclasses
import logging
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Any


class Busy(Exception):
    """The queue is full; it is worth trying again after so many `seconds`."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too much is waiting; try again in {seconds} s")
        self.seconds = seconds


class Unanswered(Exception):
    """A job that gets no result; `reason` is told to the client."""

    reason: str

    def __str__(self) -> str:
        return self.reason


class Stopped(Unanswered):
    reason = "the server is stopping"


class Failed(Unanswered):
    reason = "the model failed; the server's log says why"


class TimedOut(Unanswered):
    reason = "no answer in time"


@dataclasses.dataclass(eq=False)
class _Job:
    kind: Hashable
    items: Sequence
    deadline: float  # on the monotonic clock
    future: Future = dataclasses.field(default_factory=Future)


class Batcher:
    """Answers jobs, the oldest first, together with waiting jobs of the same kind.

    A job whose future is cancelled before it is begun leaves the queue at once. Where a batch fails, each of its jobs
    is tried alone, so that one cannot spoil the others' answers. One that fails alone gets `Failed`, whatever was
    raised.

    Args:
        answer: called in the batcher's thread with a kind, the items of each job, and the latest deadline among them,
            on the monotonic clock; returns a result for each job, or raises `TimedOut`.
        max_waiting: items that may wait; those being answered are not counted.
        max_together: items of several jobs that may be answered together; one job may hold more.
        timeout: seconds until a job's deadline.

    Attributes:
        died: whether the thread has ended without `stop`.
    """

    def __init__(
        self, answer: Callable[[Any, list, float], Sequence], max_waiting: int, max_together: int, timeout: float
    ) -> None:
        self._answer, self._timeout = answer, timeout
        self._max_waiting, self._max_together = max_waiting, max_together
        self._changed = threading.Condition()
        self._jobs: dict[_Job, None] = {}  # the oldest first
        self._stopped = self.died = False
        self._seconds_per_item = 0.0  # moving average
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Number of items that wait."""
        with self._changed:
            return self._size()

    @property
    def works(self) -> bool:
        """Whether jobs are taken and answered."""
        return self._thread.is_alive() and not self._stopped

    def submit(self, kind: Hashable, items: Sequence) -> Future:
        """Queue a job; returns the future of its result, which can be cancelled until it is begun.

        Raises:
            Busy: more items would wait than may.
            Stopped: after `stop`.
        """
        job = _Job(kind, items, time.monotonic() + self._timeout)
        with self._changed:
            if not self.works:
                raise Stopped
            size = self._size()
            if size + len(items) > self._max_waiting:
                raise Busy(max(1, math.ceil(size * self._seconds_per_item)))
            self._jobs[job] = None
            self._changed.notify()
        job.future.add_done_callback(lambda _: self._remove(job))
        return job.future

    def stop(self) -> None:
        """Finish what was begun; refuse the waiting and all later jobs."""
        with self._changed:
            self._stopped = True
            refused, self._jobs = list(self._jobs), {}
            self._changed.notify()
        for job in refused:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(Stopped())

    def join(self) -> None:
        """Wait, after `stop`, until what was begun is finished."""
        self._thread.join()

    def _size(self) -> int:
        return sum(len(job.items) for job in self._jobs)

    def _remove(self, job: _Job) -> None:
        with self._changed:
            self._jobs.pop(job, None)

    def _take(self) -> list[_Job]:
        """Wait for jobs and return those to answer together; none after `stop`."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._stopped)
            taken: list[_Job] = []
            size = 0
            for job in self._jobs:
                if taken and (job.kind != taken[0].kind or size + len(job.items) > self._max_together):
                    continue
                taken.append(job)
                size += len(job.items)
            for job in taken:
                del self._jobs[job]
        return taken

    def _work(self) -> None:
        jobs: list[_Job] = []
        try:
            while taken := self._take():
                jobs = [job for job in taken if job.future.set_running_or_notify_cancel()]
                if jobs:
                    start = time.monotonic()
                    self._finish(jobs)
                    seconds = (time.monotonic() - start) / max(1, sum(len(job.items) for job in jobs))
                    self._seconds_per_item += 0.2 * (seconds - self._seconds_per_item)
        except BaseException:  # a mistake of ours; the server notices `died` and ends
            self.died = True
            logging.getLogger(__name__).critical("the thread that answers has died", exc_info=True)
            for job in jobs:
                if not job.future.done():
                    job.future.set_exception(Failed())

    def _finish(self, jobs: list[_Job]) -> None:
        try:
            deadline = max(job.deadline for job in jobs)
            results = self._answer(jobs[0].kind, [job.items for job in jobs], deadline)
            pairs = list(zip(jobs, results, strict=True))
        except TimedOut as late:
            for job in jobs:
                job.future.set_exception(late)
            return
        except BaseException:  # a panic of native code is no `Exception`; whatever it is, the thread has to go on
            if len(jobs) > 1:
                for job in jobs:
                    self._finish([job])
                return
            logging.getLogger(__name__).exception("a request could not be answered")
            jobs[0].future.set_exception(Failed())
            return
        for job, result in pairs:
            job.future.set_result(result)
