"""The optional convolutions of oneDNN have the values of XLA's, from any thread."""

import contextlib
import functools
import os
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gconv_jax._native import onednn, onednn_library
from gconv_jax.ops.once import once

pytestmark = pytest.mark.optimized

needs_library = pytest.mark.skipif(not onednn.available(), reason="oneDNN is not installed")

# Input, filter, strides, padding, dilation.
CASES = [
    ((2, 9, 3), (3, 3, 4), (1,), ((1, 1),), (1,)),
    ((3, 12, 5), (4, 5, 7), (2,), ((0, 3),), (2,)),
    ((2, 8, 8, 16), (3, 3, 16, 32), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    ((4, 28, 28, 1), (3, 3, 1, 40), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ((1, 7, 6, 3), (3, 2, 3, 5), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ((2, 9, 8, 5), (3, 2, 5, 7), (2, 1), ((1, 0), (0, 2)), (1, 2)),
    ((2, 10, 11, 40), (3, 3, 40, 10), (3, 2), ((2, 1), (0, 1)), (2, 1)),
    ((2, 5, 5, 6), (1, 1, 6, 9), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ((2, 5, 5, 6), (1, 1, 6, 1), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    ((2, 4, 4, 3), (3, 3, 3, 8), (1, 1), ((4, 5), (3, 3)), (1, 1)),  # windows of zeros alone
    ((2, 8, 8, 3), (2, 2, 3, 8), (3, 3), ((0, 0), (0, 0)), (1, 1)),  # pixels that no window sees
    ((2, 5, 6, 4, 3), (3, 2, 3, 3, 5), (1, 1, 1), ((1, 1), (0, 1), (1, 0)), (1, 1, 1)),
    ((1, 6, 5, 7, 16), (2, 3, 2, 16, 8), (2, 1, 2), ((0, 1), (1, 1), (0, 0)), (1, 2, 1)),
]


def xla(x, w, *, strides, padding, dilation):
    spatial = "DHW"[5 - x.ndim :]
    numbers = (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")
    return lax.conv_general_dilated(
        x, w, strides, padding, rhs_dilation=dilation, dimension_numbers=numbers
    )


def make(rng, case, dtype=np.float32):
    """Operands, the cotangent, the window; and by XLA the result and both gradients."""
    x_shape, w_shape, strides, padding, dilation = case
    window = {"strides": strides, "padding": padding, "dilation": dilation}
    x, w = (jnp.asarray(rng.normal(size=shape), dtype) for shape in (x_shape, w_shape))
    f = functools.partial(xla, **window)
    y, vjp = jax.vjp(f, x.astype(np.float32), w.astype(np.float32))
    g = jnp.asarray(rng.normal(size=y.shape), dtype)
    return x, w, g, window, (y, *vjp(g.astype(np.float32)))


def all_three(x, w, g, window):
    return (
        onednn.conv(x, w, **window),
        onednn.input_gradient(g, w, spatial=x.shape[1:-1], **window),
        onednn.filter_gradient(x, g, kernel=w.shape[:-2], **window),
    )


@pytest.mark.one_in(7)
@needs_library
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_are_those_of_xla(rng, case, dtype):
    if not onednn.supports(dtype):
        pytest.skip(f"no {dtype} here")
    x, w, g, window, expected = make(rng, case, dtype)
    tolerance = 1e-5 if dtype == "float32" else 1e-2
    for got, want in zip(all_three(x, w, g, window), expected, strict=True):
        assert got.dtype == dtype
        scale = float(jnp.abs(want).max())
        np.testing.assert_allclose(
            np.asarray(got, np.float32), want, rtol=tolerance, atol=tolerance * scale
        )


@needs_library
def test_in_a_compiled_loop(rng):
    x, w, _, window, _ = make(rng, ((2, 8, 8, 4), (3, 3, 4, 4), (1, 1), ((1, 1),) * 2, (1, 1)))

    def repeat(function):
        def body(carry, _):
            return jnp.tanh(function(carry, w, **window)), carry.sum()

        return jax.jit(lambda x: lax.scan(body, x, None, length=5))(x)

    for got, want in zip(repeat(onednn.conv), repeat(xla), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@needs_library
def test_from_several_threads_at_once(rng):
    """The same shapes, so that they share the primitives, with values of their own."""
    case = CASES[6]
    runs = [make(rng, case) for _ in range(4)]
    compiled = jax.jit(lambda x, w, g: all_three(x, w, g, runs[0][3]))
    errors = []

    def work(run):
        x, w, g, _, expected = run
        for _ in range(20):
            for got, want in zip(compiled(x, w, g), expected, strict=True):
                errors.append(float(jnp.abs(got - want).max() / jnp.abs(want).max()))

    threads = [threading.Thread(target=work, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 4 * 20 * 3
    assert max(errors) < 1e-5


@needs_library
def test_an_error_in_a_call_is_an_exception():
    x, w = jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 2, 4))
    wrong = jax.ShapeDtypeStruct((1, 4, 4, 4), x.dtype)  # 3 x 3 it would be
    attributes = {"strides": [1, 1], "low": [0, 0], "high": [0, 0], "dilation": [1, 1]}
    attributes = {name: np.array(values, np.int64) for name, values in attributes.items()}
    call = jax.ffi.ffi_call("gconv_jax._native.onednn.conv", wrong)
    with pytest.raises(Exception, match=r"dnnl_convolution_forward.*invalid arguments"):
        call(x, w, **attributes).block_until_ready()
    del attributes["low"]
    with pytest.raises(Exception, match=r"KeyError: 'low'"):
        call(x, w, **attributes).block_until_ready()
    # And it works after that.
    window = {"strides": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    np.testing.assert_array_equal(onednn.conv(x, w, **window), np.full((1, 3, 3, 4), 18))


@needs_library
def test_unsupported_types_are_refused():
    assert onednn.supports("float32") and not onednn.supports("float64")
    x, w = jnp.ones((1, 5, 1), "float16"), jnp.ones((3, 1, 1), "float16")
    with pytest.raises(TypeError, match="float16"):
        onednn.conv(x, w, strides=(1,), padding=((0, 0),), dilation=(1,))


CHILD = """
import jax, jax.numpy as jnp, numpy as np
from gconv_jax._native import onednn
window = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
@jax.{transform}
def f(x, w):
    y = x
    for _ in range(4):
        y = jnp.tanh(onednn.conv(y, w, **window))
    return y
x = np.ones((8, 4, 8, 8, 4), np.float32)
{call}
"""


def run_child(transform, call, **env):
    script = CHILD.replace("{transform}", transform).replace("{call}", call)
    env = {**os.environ, "JAX_PLATFORMS": "cpu", **env}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


@needs_library
def test_on_eight_devices():
    run = run_child(
        "pmap",
        "w = np.full((8, 3, 3, 4, 4), 0.01, np.float32)\n"
        "for _ in range(10): y = f(x, w)\n"
        "assert (np.asarray(y) == np.asarray(y)[:1]).all(); print(float(np.asarray(y).max()) > 0)",
        XLA_FLAGS="--xla_force_host_platform_device_count=8",
    )
    assert run.stdout.strip() == "True", run.stderr


@needs_library
def test_programs_on_disk_serve_other_processes(tmp_path):
    call = "w = np.full((3, 3, 4, 4), 0.01, np.float32); x = x[0]\nprint(float(f(x, w).sum()))"
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    first = run_child("jit", call, **cache)
    stored = {path.name for path in tmp_path.iterdir() if path.name.endswith("-cache")}
    second = run_child("jit", call, **cache)
    assert first.stdout and first.stdout == second.stdout, first.stderr + second.stderr
    assert stored == {path.name for path in tmp_path.iterdir() if path.name.endswith("-cache")}
    assert second.returncode == 0, second.stderr


@needs_library
def test_a_process_may_end_while_a_program_runs():
    """Whose result it still has: it is waited for."""
    run = run_child(
        "jit",
        "w = np.full((3, 3, 4, 4), 0.01, np.float32); x = np.ones((8, 128, 128, 4), np.float32)\n"
        "y = f(x, w).block_until_ready()\n"
        "for _ in range(20): y = f(y, w)",
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("content", [None, b"", b"not a library"])
def test_a_library_that_is_missing_or_broken_is_not_available(tmp_path, monkeypatch, content):
    """And the broken one is named, once."""
    path = tmp_path / onednn_library.LIBRARY
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(onednn, "find_libraries", lambda: [] if content is None else [path])
    monkeypatch.setattr(onednn, "_library", once(onednn._library.__wrapped__))
    with (
        contextlib.nullcontext()
        if content is None
        else pytest.warns(RuntimeWarning, match=str(path))
    ):
        assert not onednn.available()
    assert not onednn.available()
    x, w = jnp.ones((1, 5, 1)), jnp.ones((3, 1, 1))
    with pytest.raises(RuntimeError, match="oneDNN"):
        onednn.conv(x, w, strides=(1,), padding=((0, 0),), dilation=(1,))
