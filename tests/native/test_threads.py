"""Compiled layers in programs of many threads: the first call, forks, and the end.

Each test is a process of its own, since what is made at the first call is made once.
"""

import os
import subprocess
import sys

import pytest

from gconv_jax._native import llvm, onednn

pytestmark = [
    pytest.mark.optimized,
    pytest.mark.skipif(
        not (onednn.available() and llvm.available()), reason="the extra `cpu` is not installed"
    ),
]

SETTING = """
import multiprocessing, threading, time, warnings
import jax, jax.numpy as jnp, numpy as np
from gconv_jax import P4, P4M, group_conv
from gconv_jax._native import llvm, onednn
from gconv_jax.planar.implementation import planar_implementation

def case(group, algorithm, **options):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9, 9, group.order, 8)).astype(np.float32)
    w = rng.normal(size=(3, 3, group.order, 8, 8)).astype(np.float32)
    f = lambda x, w: group_conv(x, w, group=group, algorithm=algorithm)
    g = jax.grad(lambda x, w: (f(x, w) ** 2).sum(), argnums=(0, 1))
    return jax.jit(lambda x, w: (f(x, w), *g(x, w))), x, w

def agree(actual, expected):
    return all(np.abs(a - b).max() < 1e-4 * np.abs(b).max() for a, b in zip(actual, expected))
"""


def run(script: str) -> str:
    command = [sys.executable, "-c", SETTING + script]
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, (run.returncode, run.stdout, run.stderr)
    return run.stdout


FIRST = """
cases = [case(group, algorithm) for group in (P4, P4M) for algorithm in ("dense", "fourier")] * 2
barrier, results = threading.Barrier(8), [None] * 8

def work(i):
    f, x, w = cases[i]
    barrier.wait()
    results[i] = jax.tree.map(np.asarray, f(x, w))

threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert onednn.available() and llvm.available()
with planar_implementation("xla"):
    for i, group in ((0, P4), (2, P4M)):
        f, x, w = case(group, "dense")
        expected = f(x, w)
        for j in (i, i + 1, i + 4, i + 5):
            assert agree(results[j], expected), j
print("right")
"""


@pytest.mark.parametrize(
    "again", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, 30))]
)
def test_the_first_call_is_made_by_eight_threads_at_once(again):
    assert run(FIRST) == "right\n"


FORK = """
warnings.simplefilter("ignore")  # JAX warns of forks, and Python of threads
forks = multiprocessing.get_context("fork")
def call(queue, f, x, w):
    try:
        f(x, w)
    except RuntimeError as error:
        queue.put(str(error))
if __name__ == "__main__":
    for algorithm in ("dense", "fourier"):
        f, x, w = case(P4, algorithm)
        before = f(x, w)
        queue = forks.SimpleQueue()
        compiled, new = (f, x, w), case(P4M, algorithm)
        for target, args in (
            (call, (queue, *new)), (call, (queue, *compiled)), (time.sleep, (0,))
        ):
            child = forks.Process(target=target, args=args)
            child.start()
            child.join(60)
            assert child.exitcode == 0, (target, child.exitcode)
        assert "spawn" in queue.get() and "spawn" in queue.get()
        assert agree(f(x, w), before)  # the parent computes on
    print("right")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_that_uses_a_layer_gets_a_clear_error():
    """Compiled by its parent or not: without a word it would wait for ever."""
    assert run(FORK) == "right\n"


BUSY = """
import gc
warnings.simplefilter("ignore")
gc.disable()  # programs of JAX that a child frees may wait for locks of threads that it lacks
f, x, w = case(P4M, "dense")
f(x, w)
done = threading.Event()
def work(i):
    j = 0
    while not done.is_set():
        f(x, w + i)
        jax.jit(lambda x: x + j)(x).block_until_ready()  # compiles
        j += 1
threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(3)]
for thread in threads:
    thread.start()
forks = multiprocessing.get_context("fork")
for i in range(20):
    time.sleep(0.05)
    child = forks.Process(target=time.sleep, args=(0,))
    child.start()
    child.join(60)
    assert child.exitcode == 0, (i, child.exitcode)
done.set()
for thread in threads:
    thread.join()
print("right")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_that_does_not_use_jax_ends_while_other_threads_compile_and_compute():
    assert run(BUSY) == "right\n"


END = """
def work(f, x, w):
    for _ in range(200):
        x = f(x, w)[0]

for algorithm in ("dense", "fourier"):
    f, x, w = case(P4M, algorithm)
    x, w = np.ones((4, 16, 16, 8, 8), np.float32), w / 100
    f(x, w)
    threading.Thread(target=work, args=(f, x, w)).start()
"""


def test_a_process_may_end_while_programs_of_another_thread_run():
    """They were started without waiting for their results, which nobody has any more."""
    run(END)
