"""Sums that LLVM compiles, against NumPy."""

import ctypes

import numpy as np
import pytest

from gconv_jax import llvm

pytestmark = pytest.mark.skipif(not llvm.available(), reason="llvmlite is not installed")


def run(f: llvm.Function, *arrays: np.ndarray) -> int:
    code = llvm.compile_functions(str(f), "f", len(arrays))
    return code(*(a.ctypes.data for a in arrays))


@pytest.mark.parametrize("channels", [1, 2, 3, 15, 16, 17, 64, 100])
def test_combinations(channels, rng):
    matrix = rng.normal(size=(5, 4)).round(1)
    matrix[:3] = [[1, -1, 0, 1], [-1, 0, 0, -1], [0, 0, 0, 0]]
    x = rng.normal(size=(4, channels)).astype(np.float32)
    y = np.full((6, channels), 7, np.float32)
    f = llvm.Function("f", "ptr noalias %x, ptr noalias %y", "i32")
    sources = [f.at("%x", s * channels) for s in range(4)]
    targets = [f.at("%y", o * channels) for o in range(5)]
    llvm.combine(f, matrix, channels, sources, targets)
    f.do("ret i32 3")
    assert run(f, x, y) == 3
    np.testing.assert_allclose(y[:5], matrix @ x, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(y[5], 7)  # and nothing else


@pytest.mark.parametrize(("count", "step"), [(0, 1), (1, 1), (5, 1), (5, 2), (4, 2)])
def test_loops_may_be_empty_and_nested(count, step):
    f = llvm.Function("f", "ptr %x", "i32")
    with f.loop(count, step) as i, f.loop(2) as j:
        place = f.at("%x", f.sum(f.product(i, 2), j), "i64")
        f.do(f"store i64 {f.sum(i, j, 1)}, ptr {place}")
    f.do("ret i32 0")
    x = np.zeros(12, np.int64)
    run(f, x)
    expected = np.zeros((6, 2), np.int64)
    for i in range(0, count, step):
        expected[i] = i + 1, i + 2
    np.testing.assert_array_equal(x.reshape(6, 2), expected)


def test_turns_are_taken_once():
    f = llvm.Function("f", "ptr %counter, ptr %x", "i32")
    with f.turns("%counter", 5) as i:
        f.do(f"store i64 1, ptr {f.at('%x', i, 'i64')}")
    f.do("ret i32 0")
    counter, x = np.array([2], np.int64), np.zeros(6, np.int64)
    run(f, counter, x)
    np.testing.assert_array_equal(x, [0, 0, 1, 1, 1, 0])
    assert counter[0] == 6  # it asked once more


def test_the_smaller_of_two():
    f = llvm.Function("f", "ptr %x", "i32")
    f.do(f"store i64 {f.least(f.load('%x', 0), f.load('%x', 1))}, ptr {f.at('%x', 2, 'i64')}")
    f.do("ret i32 0")
    for a, b in ((3, 9), (9, 3), (4, 4)):
        x = np.array([a, b, 0], np.int64)
        run(f, x)
        assert x[2] == min(a, b)


def test_what_is_no_assembly_is_refused():
    with pytest.raises(RuntimeError, match="expected"):
        llvm.compile_functions("define void @f() { what }", "f", 0)


def test_engines_stay_alive():
    """The code would be gone with its engine."""
    before = len(llvm._engines)
    f = llvm.Function("f", "ptr %x", "i32")
    f.do("ret i32 5")
    assert run(f, np.zeros(1)) == 5 and len(llvm._engines) == before + 1
    assert ctypes.sizeof(ctypes.c_void_p) == 8
