"""Requests that wait are put together, each gets its own answer, and none waits for nothing."""

import threading
import time

import pytest

from transformer.serving.batcher import Batcher, Busy, Failed, Stopped, TimedOut


class Panic(BaseException):
    """What native code raises when it panics: no `Exception`."""


class Gate:
    """An answering function that notes its calls and, while it is shut, does not return."""

    def __init__(self):
        self.calls, self.entered, self.open = [], threading.Event(), threading.Event()
        self.open.set()

    def __call__(self, kind, requests, deadline):
        assert deadline > time.monotonic() + 50
        self.calls.append((kind, [list(items) for items in requests]))
        self.entered.set()
        assert self.open.wait(20)
        if any("poison" in items for items in requests):
            raise RuntimeError("poisoned")
        if any("panic" in items for items in requests):
            raise Panic("at the disco")
        return [[f"{kind}:{item}" for item in items] for items in requests]


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def batcher(gate):
    made = Batcher(gate, max_waiting=6, max_together=4, timeout=60)
    yield made
    gate.open.set()
    made.stop()
    made.join()


def shut(gate, batcher):
    """Let the batcher begin a job and not finish it; returns its future."""
    gate.open.clear()
    gate.entered.clear()
    future = batcher.submit("first", ["x"])
    assert gate.entered.wait(20)
    return future


def test_jobs_that_wait_are_answered_together_and_each_gets_its_own(gate, batcher):
    first = shut(gate, batcher)
    futures = [batcher.submit("a", items) for items in (["1"], ["2", "3"], ["4"])]
    assert batcher.waiting == 4
    gate.open.set()
    assert first.result(20) == ["first:x"]
    assert [future.result(20) for future in futures] == [["a:1"], ["a:2", "a:3"], ["a:4"]]
    assert gate.calls == [("first", [["x"]]), ("a", [["1"], ["2", "3"], ["4"]])]
    assert batcher.waiting == 0


def test_only_jobs_of_the_oldest_ones_kind_that_fit_go_together(gate, batcher):
    shut(gate, batcher)
    futures = [batcher.submit(kind, items) for kind, items in (("a", "12"), ("b", "3"), ("a", "456"))]
    with pytest.raises(Busy):
        batcher.submit("b", "7")
    gate.open.set()
    for future in futures:
        future.result(20)
    # "456" would make five of the first batch's four
    assert gate.calls[1:] == [("a", [["1", "2"]]), ("b", [["3"]]), ("a", [["4", "5", "6"]])]


def test_a_job_larger_than_what_may_go_together_is_answered_alone(gate, batcher):
    shut(gate, batcher)
    large, small = batcher.submit("a", "12345"), batcher.submit("a", "6")
    gate.open.set()
    assert large.result(20) == ["a:1", "a:2", "a:3", "a:4", "a:5"] and small.result(20) == ["a:6"]
    assert gate.calls[1:] == [("a", [["1", "2", "3", "4", "5"]]), ("a", [["6"]])]


def test_no_more_waits_than_may_and_the_time_to_come_again_is_estimated(gate, batcher):
    shut(gate, batcher)
    batcher.submit("a", "12345")
    batcher._seconds_per_item = 1.5
    with pytest.raises(Busy) as busy:
        batcher.submit("a", "67")
    assert busy.value.seconds == 8  # five wait, 7.5 s
    batcher.submit("a", "6")


def test_a_cancelled_job_makes_room_at_once_and_is_not_answered(gate, batcher):
    first = shut(gate, batcher)
    future = batcher.submit("a", "123456")
    assert future.cancel() and batcher.waiting == 0
    second = batcher.submit("a", "7")
    assert not first.cancel()  # it is begun
    gate.open.set()
    assert (first.result(20), second.result(20)) == (["first:x"], ["a:7"])
    assert gate.calls[1:] == [("a", [["7"]])]


@pytest.mark.parametrize("item, told", [("poison", "poisoned"), ("panic", "at the disco")])
def test_one_job_that_fails_does_not_spoil_the_others(gate, batcher, caplog, item, told):
    shut(gate, batcher)
    futures = [batcher.submit("a", [item]) for item in ("1", item, "2")]
    gate.open.set()
    assert (futures[0].result(20), futures[2].result(20)) == (["a:1"], ["a:2"])
    with pytest.raises(Failed, match="the server's log says why"):
        futures[1].result(20)
    assert "a request could not be answered" in caplog.text and told in caplog.text
    assert batcher.submit("a", ["3"]).result(20) == ["a:3"] and not batcher.died  # the thread goes on


def test_a_thread_that_dies_is_seen_and_refuses(gate, batcher, monkeypatch, caplog):
    def die(jobs):
        raise Panic("out of the loop")

    monkeypatch.setattr(batcher, "_finish", die)
    with pytest.raises(Failed):
        batcher.submit("a", ["1"]).result(20)
    batcher.join()
    assert batcher.died and not batcher.works and "has died" in caplog.text
    with pytest.raises(Stopped):
        batcher.submit("a", ["2"])


def test_what_comes_too_late_is_not_tried_again(caplog):
    calls = []

    def answer(kind, requests, deadline):
        calls.append(requests)
        raise TimedOut

    batcher = Batcher(answer, max_waiting=6, max_together=6, timeout=60)
    futures = [batcher.submit("a", [item]) for item in "123"]
    for future in futures:
        with pytest.raises(TimedOut):
            future.result(20)
    assert sum(map(len, calls)) == 3 and not caplog.text
    batcher.stop()
    batcher.join()


def test_a_function_that_loses_an_answer_fails_instead_of_crossing_them(caplog):
    batcher = Batcher(lambda *_: [], max_waiting=2, max_together=2, timeout=60)
    with pytest.raises(Failed):
        batcher.submit("a", ["1"]).result(20)
    batcher.stop()
    batcher.join()


def test_stopping_finishes_what_was_begun_and_refuses_the_rest(gate, batcher):
    first = shut(gate, batcher)
    waiting = batcher.submit("a", ["1"])
    assert batcher.works
    batcher.stop()
    assert not batcher.works
    with pytest.raises(Stopped):
        waiting.result(20)
    with pytest.raises(Stopped):
        batcher.submit("a", ["2"])
    gate.open.set()
    batcher.join()
    assert first.result(0) == ["first:x"] and len(gate.calls) == 1


def test_many_threads_lose_and_cross_nothing():
    batcher = Batcher(lambda kind, requests, deadline: [[-item for item in group] for group in requests], 10**6, 7, 60)
    found = {}

    def client(number):
        for item in range(number * 200, number * 200 + 200):
            found[item] = batcher.submit(item % 3, [item]).result(20)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {item: [-item] for item in range(1600)}
    batcher.stop()
    batcher.join()
