"""Work on several threads: in order, not far ahead, and without losing an error."""

import threading
import time

import pytest

from transformer.system.threads import in_order


def test_results_come_in_order_and_side_by_side():
    together = threading.Barrier(2, timeout=10)

    def slow_first(number):
        together.wait()  # fails unless two are at work at the same time
        time.sleep(0.01 * (number % 2 == 0))
        return number**2

    assert list(in_order(slow_first, range(6))) == [0, 1, 4, 9, 16, 25]
    assert list(in_order(slow_first, [])) == []


def test_no_more_is_taken_ahead_than_said():
    taken = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    for done, result in enumerate(in_order(str, items(), threads=3)):
        assert result == str(done) and len(taken) <= done + 4


def test_an_error_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda number: 1 // number, [1, 0, 1]))
