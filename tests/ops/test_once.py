"""A value of `once` is made once, whichever threads ask for it, and stays."""

import gc
import itertools
import os
import threading
import time
import weakref

import pytest

from gconv_jax._native import xla_ffi
from gconv_jax.ops.once import keep, once


def test_threads_that_ask_at_once_get_the_same():
    count, barrier = itertools.count(), threading.Barrier(8)

    @once
    def make(name):
        time.sleep(0.05)  # so that the others come while the first is at it
        return name, next(count)

    made = []

    def ask():
        barrier.wait()
        made.append(make("a"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [("a", 0)] * 8 and make("b") == ("b", 1)


def test_errors_are_not_kept():
    answers = iter([ValueError("not yet"), 7])

    @once
    def make():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(ValueError, match="not yet"):
        make()
    assert make() == make() == 7


def test_one_may_make_another():
    inner = once(lambda n: [n])
    outer = once(lambda n: (inner(n), inner(n)))
    a, b = outer(1)
    assert a is b


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:os.fork", "ignore:.*multi-threaded")  # JAX's, and Python's
def test_a_fork_does_not_inherit_the_lock_of_another_thread():
    inside, forked = threading.Event(), threading.Event()

    @once
    def slow():
        inside.set()
        forked.wait(0.2)

    thread = threading.Thread(target=slow)
    thread.start()
    inside.wait()
    if (child := os.fork()) == 0:
        try:
            made = []
            other = threading.Thread(target=lambda: made.append(once(lambda: 1)()), daemon=True)
            other.start()
            other.join(10)
            os._exit(0 if made == [1] else 1)
        finally:
            os._exit(2)
    forked.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


def test_what_is_kept_is_never_freed():
    class Thing:
        pass

    kept, other = Thing(), Thing()
    references = [weakref.ref(keep(kept)), weakref.ref(other)]
    del kept, other
    gc.collect()
    assert references[0]() is not None and references[1]() is None


def test_a_function_for_xla_is_registered_once():
    """The second would free the first, whose address XLA has."""
    name = "gconv_jax.tests.once"
    xla_ffi.register(name, lambda buffers, attributes: None)
    with pytest.raises(ValueError, match=rf"`name` '{name}' is registered already"):
        xla_ffi.register(name, lambda buffers, attributes: None)
