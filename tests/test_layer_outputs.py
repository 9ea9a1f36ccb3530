"""The outputs of layers are captured for one model in one thread; no other is disturbed."""

import threading

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax.groups.finite import P4
from gconv_jax.layer_outputs import capture_layer_outputs
from gconv_jax.testing import assert_equivariant

SECONDS = 30  # until a thread that waits for another gives up


class Add(nnx.Module):
    """Adds a number, after ``wait``."""

    def __init__(self, number, wait=None):
        self.number, self.wait = number, wait

    def __call__(self, x):
        if self.wait is not None:
            self.wait()
        return x + self.number


class Double(Add):
    def __call__(self, x):
        return 2 * super().__call__(x)


class Net(nnx.Module):
    def __init__(self, layer):
        self.layer = layer

    def __call__(self, x):
        return self.layer(x)


def in_threads(*functions):
    """Run the functions at the same time; the first error of any of them is raised."""
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def record(model, x) -> list:
    found = []
    with capture_layer_outputs(model, lambda *call: found.append(call)):
        model(x)
    return found


def test_arguments_and_results_are_recorded_once_with_super():
    model, seen = Net(Double(1)), []
    with capture_layer_outputs(
        model,
        lambda path, layer, y: seen.append(("out", path, layer is model.layer, y)),
        enter=lambda path, layer, given: seen.append(("in", path, layer is model.layer, given)),
    ):
        model(3)
    assert seen == [("in", "layer", True, (3,)), ("out", "layer", True, 8)]


def test_two_recordings_that_overlap_are_both_right_and_leave_the_classes():
    """The one that began first ends first, while the other still runs its model."""
    calls = Add.__call__, dict(vars(Double))
    first_in, second_in, first_out = (threading.Event() for _ in range(3))
    found = {}

    def first():
        seen = found["first"] = []
        model = Net(Double(1))
        with capture_layer_outputs(model, lambda *call: seen.append(call)):
            first_in.set()
            assert second_in.wait(SECONDS)
            model(3)
        first_out.set()

    def second():
        seen = found["second"] = []
        model = Net(Double(10))
        assert first_in.wait(SECONDS)
        with capture_layer_outputs(model, lambda *call: seen.append(call)):
            second_in.set()
            assert first_out.wait(SECONDS)
            model(3)

    in_threads(first, second)
    assert [(path, y) for path, _, y in found["first"]] == [("layer", 8)]
    assert [(path, y) for path, _, y in found["second"]] == [("layer", 26)]
    assert (Add.__call__, dict(vars(Double))) == calls


def test_other_threads_are_not_recorded():
    """Neither another model of the same class, nor the same model."""
    inside, done = threading.Event(), threading.Event()

    def wait():
        if threading.current_thread() is not threading.main_thread() and waits:
            inside.set()
            assert done.wait(SECONDS)

    waits = True
    model, others, found = Net(Add(1, wait)), [Net(Add(5))], []

    def recorded():
        found.extend(record(model, 3))

    def other():
        nonlocal waits
        assert inside.wait(SECONDS)
        waits = False
        try:
            assert [m(3) for m in (*others, model)] == [8, 4]
        finally:
            done.set()

    in_threads(recorded, other)
    assert [(path, y) for path, _, y in found] == [("layer", 4)]


def test_recordings_nest():
    outer, inner = Net(Add(1)), Net(Add(2))
    found = []
    with capture_layer_outputs(outer, lambda *call: found.append(call)):
        assert record(inner, 0) == [("layer", inner.layer, 2)]
        outer(0)
    assert found == [("layer", outer.layer, 1)]


def test_an_error_in_a_layer_ends_the_recording():
    def fail():
        raise ArithmeticError

    call = Add.__call__
    with pytest.raises(ArithmeticError):
        record(Net(Add(1, fail)), 0)
    assert Add.__call__ is call
    assert [y for *_, y in record(Net(Add(1)), 0)] == [1]


def test_checks_in_threads_are_independent(rng):
    """A right network passes while another thread finds the fault of a wrong one of its class."""
    x = jnp.asarray(rng.normal(size=(1, 4, 4, 1)), jnp.float32)
    slope = np.arange(4, dtype=np.float32).reshape(-1, 1, 1)
    barrier = threading.Barrier(2, timeout=SECONDS)

    def right():
        barrier.wait()
        for _ in range(5):
            assert_equivariant(Net(Add(1.0)), x, group=P4)

    def wrong():
        barrier.wait()
        for _ in range(5):
            with pytest.raises(AssertionError, match="first layer that breaks the law is 'layer'"):
                assert_equivariant(Net(Add(nnx.data(slope))), x, group=P4)

    in_threads(right, wrong)
