"""Functions as graphs: one for each object and all shapes, whoever calls it first."""

import numpy as np
import tensorflow as tf

from transformer.system.graphs import Graph, being_compiled, compiled

NUMBERS = tf.TensorSpec((None,), tf.int32)


class Adder:
    """Counts how often Python runs its function, which is once for each graph."""

    def __init__(self, amount):
        self.runs = 0
        self.amount = amount
        self.graph = Graph(self.add, NUMBERS)

    def add(self, numbers):
        self.runs += 1
        return numbers + self.amount


def test_one_graph_serves_all_shapes_and_kinds_of_arguments():
    adder = Adder(2)
    assert adder.graph.traces == adder.runs == 0
    for numbers in ([1], [1, 2, 3], (5,) * 40, np.array([7, 8], np.int32), tf.constant([9])):
        np.testing.assert_array_equal(adder.graph(numbers), np.array(numbers) + 2)
    assert adder.graph.traces == adder.runs == 1


def test_many_objects_are_no_reason_for_a_warning(caplog):
    for amount in range(12):
        adder = Adder(amount)
        assert adder.graph([1]).numpy().tolist() == [1 + amount] and adder.runs == 1
    assert "retracing" not in caplog.text


def test_a_graph_that_is_first_called_in_another_one_stands_alone():
    adder = Adder(3)
    rows = tf.data.Dataset.from_tensor_slices([1, 2, 3]).batch(2).map(adder.graph)
    assert [row.tolist() for row in rows.as_numpy_iterator()] == [[4, 5], [6]]
    assert adder.graph([1]).numpy().tolist() == [4] and adder.runs == 1


def test_a_compiled_part_knows_that_it_is():
    told = []

    def doubled(numbers):
        told.append(being_compiled())
        return numbers * 2

    graph = Graph(lambda numbers: compiled(doubled)(doubled(numbers)), NUMBERS)
    for numbers in ([1, 2], [3]):  # two shapes, for which XLA compiles it
        assert graph(numbers).numpy().tolist() == [4 * number for number in numbers]
    assert told == [False, True] and not being_compiled()
