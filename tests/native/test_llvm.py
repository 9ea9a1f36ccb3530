"""Sums that LLVM compiles, against NumPy."""

import sys

import numpy as np
import pytest

from gconv_jax._native import llvm
from gconv_jax._native.llvm_matmul import add_transposed, block_rows, multiply
from gconv_jax.ops.once import once

pytestmark = pytest.mark.skipif(not llvm.available(), reason="llvmlite is not installed")


def run(f: llvm.Function, *arguments) -> None:
    """Run a function on pointers to arrays, and on numbers as they are."""
    code = llvm.compile_functions(str(f), "f", len(arguments))
    code(*(a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments))


@pytest.mark.parametrize("channels", [1, 2, 3, 10, 15, 16, 17, 64, 100])
def test_combinations(channels, rng):
    matrix = rng.normal(size=(5, 4)).round(1)
    matrix[:3] = [[1, -1, 0, 1], [-1, 0, 0, -1], [0, 0, 0, 0]]
    x = rng.normal(size=(4, channels)).astype(np.float32)
    y = np.full((6, channels), 7, np.float32)
    f = llvm.Function("f", "ptr noalias %x, ptr noalias %y")
    sources = [f.gep("%x", s * channels) for s in range(4)]
    targets = [f.gep("%y", o * channels) for o in range(5)]
    llvm.combine(f, matrix, channels, sources, targets)
    run(f, x, y)
    np.testing.assert_allclose(y[:5], matrix @ x, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(y[5], 7)  # and nothing else


@pytest.mark.parametrize(("count", "step"), [(0, 1), (1, 1), (5, 1), (5, 2), (4, 2)])
def test_loops_may_be_empty_and_nested(count, step):
    f = llvm.Function("f", "ptr %x")
    with f.loop(count, step) as i, f.loop(2) as j:
        place = f.gep("%x", f.sum(f.product(i, 2), j), "i64")
        f.emit(f"store i64 {f.sum(i, j, 1)}, ptr {place}")
    x = np.zeros(12, np.int64)
    run(f, x)
    expected = np.zeros((6, 2), np.int64)
    for i in range(0, count, step):
        expected[i] = i + 1, i + 2
    np.testing.assert_array_equal(x.reshape(6, 2), expected)


def test_turns_are_taken_once():
    f = llvm.Function("f", "ptr %counter, ptr %x")
    with f.work_queue_loop("%counter", 5) as i:
        f.emit(f"store i64 1, ptr {f.gep('%x', i, 'i64')}")
    counter, x = np.array([2], np.int64), np.zeros(6, np.int64)
    run(f, counter, x)
    np.testing.assert_array_equal(x, [0, 0, 1, 1, 1, 0])
    assert counter[0] == 6  # it asked once more


def test_the_smaller_of_two():
    f = llvm.Function("f", "ptr %x")
    f.emit(f"store i64 {f.umin(f.load('%x', 0), f.load('%x', 1))}, ptr {f.gep('%x', 2, 'i64')}")
    for a, b in ((3, 9), (9, 3), (4, 4)):
        x = np.array([a, b, 0], np.int64)
        run(f, x)
        assert x[2] == min(a, b)


def test_what_is_no_assembly_is_refused():
    with pytest.raises(RuntimeError, match="expected"):
        llvm.compile_functions("define void @f() { what }", "f", 0)


# Rows, the inner width, columns: with whole and other vectors, one and several of them, less than a
# block of rows and more, more than the caches keep.
PRODUCTS = [
    *((1, 1, 1), (3, 5, 2), (24, 16, 16), (25, 7, 20), (50, 9, 33), (7, 30, 64)),
    *((100, 13, 100), (17, 50, 40), (300, 26, 48), (30, 20_001, 30), (31, 19, 10), (9, 40, 5)),
]


@pytest.mark.parametrize(("rows", "inner", "columns"), PRODUCTS)
def test_products(rows, inner, columns, rng):
    capacity = -(-rows // block_rows()) * block_rows()
    a = np.full((capacity, inner), np.nan, np.float32)
    a[:rows] = rng.normal(size=(rows, inner))
    b = rng.normal(size=(inner, columns)).astype(np.float32)
    y = np.full((capacity + 1, columns), 7, np.float32)
    run(multiply("f", inner, columns), a, b, y, rows)
    expected = a[:rows].astype(np.float64) @ b
    np.testing.assert_allclose(y[:rows], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(y[capacity], 7)  # and nothing beyond


@pytest.mark.parametrize(("rows", "inner", "columns"), PRODUCTS)
def test_transposed_products_are_added(rows, inner, columns, rng):
    a, b, y = (
        rng.normal(size=shape).astype(np.float32)
        for shape in ((rows, inner), (rows, columns), (inner + 1, columns))
    )
    expected = y.astype(np.float64)
    expected[:inner] += a.astype(np.float64).T @ b
    run(add_transposed("f", inner, columns), a, b, y, rows)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(y[inner], expected[inner].astype(np.float32))


@pytest.mark.parametrize("vectors", [(4, 16), (4, 32), (8, 16), (16, 32)])
def test_vectors_of_other_processors(vectors, rng, monkeypatch):
    monkeypatch.setattr(llvm, "vectors", lambda: llvm.Vectors(*vectors))
    test_combinations(19, rng)
    for shape in (*PRODUCTS[3:6], *PRODUCTS[-2:]):
        test_products(*shape, rng)
        test_transposed_products_are_added(*shape, rng)


def test_the_vectors_of_this_processor():
    width, count = llvm.vectors()
    assert width in (4, 8, 16) and count in (16, 32)


def test_llvmlite_that_is_broken_is_named_once(monkeypatch):
    """And one that is not installed is not."""
    monkeypatch.setattr(llvm, "_binding", once(llvm._binding.__wrapped__))
    monkeypatch.setitem(sys.modules, "llvmlite.binding", object())  # without functions
    with pytest.warns(
        RuntimeWarning, match="llvmlite is installed and cannot be used.*AttributeError"
    ):
        assert not llvm.available()
    assert not llvm.available()
    monkeypatch.setattr(llvm, "_binding", once(llvm._binding.__wrapped__))
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    assert not llvm.available()
