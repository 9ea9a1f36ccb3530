"""The Fourier form in machine code: the numbers of the definition, for float32."""

import functools
import os
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import P4, P4M, group_conv, octahedral
from gconv_jax._native import door, fourier_call, llvm
from gconv_jax.conv.algorithm import fourier_platforms
from gconv_jax.ops.once import once
from gconv_jax.planar.implementation import planar_implementation
from tests import oracles
from tests.helpers import BY_NAME, assert_close, every_case, feature_map, group_filter

pytestmark = [
    pytest.mark.optimized,
    pytest.mark.skipif(not llvm.available(), reason="llvmlite is not installed"),
]


@pytest.fixture(autouse=True)
def native(monkeypatch):
    """The calls that were made: whether each was of a filter gradient."""
    calls = []
    run = fourier_call._Plan.run
    monkeypatch.setattr(
        fourier_call._Plan,
        "run",
        lambda plan, *pointers: calls.append(plan.sizes.filter_gradient) or run(plan, *pointers),
    )
    return calls


def convolve(x, w, group, algorithm="fourier", **options):
    return group_conv(x, w, group=group, algorithm=algorithm, **options)


def all_three(x, w, g, group, algorithm="fourier", **options):
    """The result and both gradients, where g is the cotangent."""
    y, pull = jax.vjp(lambda x, w: convolve(x, w, group, algorithm, **options), x, w)
    return y, *pull(g)


def float32(*arrays):
    return [jnp.asarray(a, jnp.float32) for a in arrays]


def compare(x, w, group, rng, **options):
    """All three against the filter bank and XLA's convolution."""
    x, w = float32(x, w)
    shape = jax.eval_shape(lambda x, w: convolve(x, w, group, **options), x, w).shape
    (g,) = float32(rng.normal(size=shape))
    actual = jax.jit(functools.partial(all_three, group=group, **options))(x, w, g)
    with planar_implementation("xla"):
        f = functools.partial(all_three, group=group, algorithm="dense", **options)
        expected = jax.jit(f)(x, w, g)
    for a, e in zip(actual, expected, strict=True):
        assert_close(a, e, atol=2e-5 * float(jnp.abs(e).max()))


@every_case
@pytest.mark.parametrize(("size", "kernel"), [(7, 1), (6, 2), (7, 3)])
def test_by_the_definition(case, kernel, size, rng, native):
    x, w = feature_map(rng, case, size, 3), group_filter(rng, case, kernel, 3, 5)
    y = convolve(*float32(x, w), case.group, padding=kernel // 2)
    d = case.dimension
    expected = oracles.conv(
        case,
        x,
        w,
        lifting=False,
        strides=(1,) * d,
        low=(kernel // 2,) * d,
        output=(size + 2 * (kernel // 2) - kernel + 1,) * d,
        dilation=(1,) * d,
    )
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert native == [False]


# Images, their size, both numbers of channels, the kernel, options.
CASES = {
    "one channel": (2, (6, 6), 1, 1, 3, {}),
    "not whole vectors": (2, (6, 5), 17, 35, 3, {}),
    "more pixels than a strip": (1, (5, 300), 2, 3, 3, {}),
    "tiles of several rows": (1, (50, 9), 3, 16, 3, {}),
    "more than is seen": (1, (40, 40), 2, 2, 3, {"padding": (4, 3)}),
    "nothing but padding": (1, (3, 3), 2, 2, 3, {"padding": ((7, 7), (7, 7))}),
    "valid": (3, (9, 9), 4, 2, 5, {"padding": "VALID"}),
    "pointwise": (5, (7, 6), 19, 4, 1, {}),
    "dilation": (2, (9, 9), 3, 3, 3, {"dilation": 2, "padding": 2}),
    "strides": (2, (9, 9), 3, 3, 3, {"strides": 2, "padding": 1}),
    "different strides": (2, (9, 10), 3, 3, 3, {"strides": (2, 3), "padding": (1, 1)}),
    "circular": (2, (6, 6), 3, 4, 3, {"padding": "CIRCULAR"}),
    # These share strips: there are enough for two strips of each of 16 threads.
    "many images": (70, (4, 5), 3, 4, 3, {}),
    "many images without padding": (70, (5, 4), 3, 4, 3, {"padding": "VALID"}),
    "many images of one pixel": (70, (3, 3), 10, 9, 3, {"padding": "VALID"}),
    # And these do not, since the table of copies would be large.
    "very many images": (1100, (3, 3), 1, 1, 3, {}),
}


@pytest.mark.one_in(7)
@pytest.mark.filterwarnings("ignore::gconv_jax.InexactEquivarianceWarning")
@pytest.mark.parametrize("group", [P4, P4M], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_the_bank(name, group, rng):
    n, size, c_in, c_out, kernel, options = CASES[name]
    x = rng.normal(size=(n, *size, group.order, c_in))
    w = rng.normal(size=(kernel, kernel, group.order, c_in, c_out)) / kernel
    compare(x, w, group, rng, **options)


def test_volumes_and_lines(rng):
    group = octahedral()
    x, w = rng.normal(size=(2, 5, 4, 5, 24, 2)), rng.normal(size=(3, 3, 3, 24, 2, 3))
    compare(x, w, group, rng, padding=1)
    line = BY_NAME["line-mirror"]
    compare(
        feature_map(rng, line, 700, 3), group_filter(rng, line, 5, 3, 4), line.group, rng, padding=2
    )


def forget(monkeypatch, *names):
    """Let these functions of the module make their values once more, in this test."""
    for name in names:
        monkeypatch.setattr(fourier_call, name, once(getattr(fourier_call, name).__wrapped__))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads(threads, rng, monkeypatch):
    monkeypatch.setattr(fourier_call, "_threads", lambda: threads)
    forget(monkeypatch, "_pool", "_plan")
    for images in (1, 3, 16):
        x, w = rng.normal(size=(images, 12, 12, 8, 16)), rng.normal(size=(3, 3, 8, 16, 16)) / 9
        compare(x, w, P4M, rng, padding=1)


def test_from_several_threads_at_once(rng):
    """They share the machine code and the pool, and have memory of their own."""
    xs = [float32(rng.normal(size=(4, 10, 10, 4, 16)))[0] for _ in range(4)]
    (w,) = float32(rng.normal(size=(3, 3, 4, 16, 8)))
    compiled = jax.jit(lambda x, w: all_three(x, w, x[..., :8], P4))
    expected = [jax.block_until_ready(compiled(x, w)) for x in xs]
    same = []

    def work(i):
        for _ in range(10):
            got = compiled(xs[i], w)
            # Sums over images are made in any order.
            pairs = zip(got, expected[i], strict=True)
            same.extend(np.allclose(a, e, rtol=1e-4, atol=1e-3) for a, e in pairs)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(same) == 4 * 10 * 3 and all(same)


def test_higher_derivatives_and_vmap(rng):
    x, w = float32(rng.normal(size=(2, 5, 5, 4, 3)), rng.normal(size=(3, 3, 4, 3, 2)))

    def directional(algorithm):
        def slope(x, w):
            return jax.grad(lambda x: jnp.sin(convolve(x, w, P4, algorithm)).sum())(x)

        return jax.jit(lambda x, w: jax.jvp(slope, (x, w), (x, w))[1])(x, w)

    a, e = directional("fourier"), directional("dense")
    assert_close(a, e, atol=1e-4 * float(jnp.abs(e).max()))
    xs = jnp.stack([x, 2 * x, x - 1])
    y = jax.vmap(lambda x: convolve(x, w, P4))(xs)
    e = jnp.stack([convolve(x, w, P4, "dense") for x in xs])
    assert_close(y, e, atol=1e-4)


def test_bfloat16_is_summed_in_float32(rng, native):
    x, w = rng.normal(size=(2, 6, 6, 8, 16)), rng.normal(size=(3, 3, 8, 16, 4)) / 34
    x, w = jnp.asarray(x, jnp.bfloat16), jnp.asarray(w, jnp.bfloat16)
    y = convolve(x, w, P4M)
    e = convolve(x.astype(jnp.float32), w.astype(jnp.float32), P4M, "dense")
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), e, rtol=1e-2, atol=1e-2)
    assert native == [False]


def test_all_calls_give_the_same_bits(rng):
    """Whichever thread is the faster one: a run that is resumed is the run without an end."""
    x, w = float32(rng.normal(size=(16, 9, 9, 8, 7)), rng.normal(size=(3, 3, 8, 7, 6)))
    f = jax.jit(functools.partial(all_three, group=P4M))
    first = f(x, w, x[..., :6])
    for _ in range(50):
        jax.tree.map(np.testing.assert_array_equal, f(x, w, x[..., :6]), first)


def test_what_it_does_not_have_is_left_to_xla(rng, native, x64, monkeypatch):
    x, w = rng.normal(size=(1, 5, 5, 4, 2)), rng.normal(size=(3, 3, 4, 2, 2))
    jax.block_until_ready(convolve(x, w, P4))  # float64
    with planar_implementation("patches"):
        jax.block_until_ready(convolve(*float32(x, w), P4))
    monkeypatch.setattr(door, "MOST_ELEMENTS", 3)
    jax.block_until_ready(convolve(*float32(x, w), P4))
    # The input gradient of a convolution with more padding than its filter is wide.
    monkeypatch.setattr(door, "MOST_ELEMENTS", 48)
    jax.clear_caches()
    gradient = jax.grad(lambda x: convolve(x, float32(w)[0], P4, padding=5).sum())
    jax.block_until_ready(gradient(float32(x)[0]))
    assert native == [False]


def test_empty_arrays():
    for n, size, channels in ((0, 5, 2), (2, 5, 0)):
        y = convolve(jnp.ones((n, size, size, 4, channels)), jnp.ones((3, 3, 4, channels, 3)), P4)
        np.testing.assert_array_equal(y, np.zeros((n, size, size, 4, 3)))


def test_without_llvmlite_xla_does_it(rng, native, monkeypatch):
    monkeypatch.setattr(llvm, "available", lambda: False)
    jax.clear_caches()
    assert not fourier_call.available()
    arrays = float32(rng.normal(size=(1, 5, 5, 4, 2)), rng.normal(size=(3, 3, 4, 2, 2)))
    jax.block_until_ready(convolve(*arrays, P4))
    assert native == []
    jax.clear_caches()


def test_when_the_interpreter_ends_one_thread_does_it_all(rng, monkeypatch):
    def ended():
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    monkeypatch.setattr(fourier_call, "_pool", ended)
    compare(rng.normal(size=(4, 6, 6, 4, 3)), rng.normal(size=(3, 3, 4, 3, 3)), P4, rng)


def test_an_error_in_a_thread_is_an_exception(rng, monkeypatch):
    def code(sizes):
        def work(call):
            raise MemoryError("too much")

        return work

    monkeypatch.setattr(fourier_call, "machine_code", code)
    forget(monkeypatch, "_plan")
    x, w = float32(rng.normal(size=(4, 6, 6, 4, 3)), rng.normal(size=(3, 3, 4, 3, 3)))
    with pytest.raises(Exception, match="MemoryError: too much"):
        convolve(x, w, P4).block_until_ready()


def test_small_images_share_strips_if_all_threads_have_work(monkeypatch):
    monkeypatch.setattr(fourier_call, "_threads", lambda: 2)
    shared = functools.partial(fourier_call._share_strips, strip=264)
    assert shared(8, (8, 8), (1, 1)) and shared(1024, (4, 4), (1, 1))
    assert not shared(7, (8, 8), (1, 1)), "threads would wait"
    assert not shared(1025, (8, 8), (1, 1)), "the table of copies would be large"
    assert not shared(8, (12, 12), (1, 1)) and not shared(8, (2, 2), (32, 32))


def test_a_filter_in_the_wrong_frame_is_noticed(rng):
    """Negative control: the comparisons above would see it."""
    x, w = float32(rng.normal(size=(2, 6, 6, 8, 3)), rng.normal(size=(3, 3, 8, 3, 3)))
    wrong = convolve(x, w[:, :, P4M.inverse], P4M)
    right = convolve(x, w, P4M, "dense")
    assert float(jnp.abs(wrong - right).max()) > 0.1


@pytest.mark.parametrize(
    ("group", "channels", "arithmetic"),
    [
        *((P4M, 9, "full"), (P4, 15, "full"), (P4M, 6, "halves"), (P4, 9, "halves")),
        *((P4M, 4, "short"), (P4, 6, "short"), (octahedral(), 3, "short")),
    ],
    ids=str,
)
def test_auto_takes_it_from_fewer_channels_on(group, channels, arithmetic, monkeypatch):
    monkeypatch.setattr(llvm, "arithmetic", lambda: arithmetic)
    layer = {"group": group, "kernel": (3,) * group.dimension, "strides": (1,) * group.dimension}
    few, many = ({**layer, "c_in": c, "c_out": c} for c in (channels - 1, channels))
    assert fourier_platforms("auto", **few) == ()
    assert fourier_platforms("auto", **many) == ("cpu",)
    # It has no float64.
    assert fourier_platforms("auto", **many, dtype=jnp.float64) == ()


CHILD = """
import jax, jax.numpy as jnp, numpy as np
from gconv_jax import P4, group_conv
@jax.{transform}
def f(x, w):
    for _ in range(4):
        x = jnp.tanh(group_conv(x, w, group=P4, algorithm="fourier"))
    return x
x, w = np.ones((8, 4, 8, 8, 4, 4), np.float32), np.full((3, 3, 4, 4, 4), 0.01, np.float32)
{call}
"""


def run_child(transform, call, **env):
    script = CHILD.replace("{transform}", transform).replace("{call}", call)
    command = [sys.executable, "-c", script]
    env = {**os.environ, "JAX_PLATFORMS": "cpu", **env}
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_on_eight_devices():
    out = run_child(
        "pmap",
        "w = np.stack([w] * 8)\nfor _ in range(10): y = np.asarray(f(x, w))\n"
        "print((y == y[:1]).all() and y.max() > 0)",
        XLA_FLAGS="--xla_force_host_platform_device_count=8",
    )
    assert out.strip() == "True"


def test_programs_on_disk_serve_other_processes(tmp_path):
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    outs, stored = [], []
    for _ in range(2):
        outs.append(run_child("jit", "print(float(f(x[0], w).sum()))", **cache))
        stored.append({path.name for path in tmp_path.iterdir() if path.name.endswith("-cache")})
    assert outs[0] and outs[0] == outs[1] and stored[0] == stored[1]


def test_a_process_may_end_while_a_program_runs():
    run_child(
        "jit",
        "x = np.ones((8, 64, 64, 4, 4), np.float32)\ny = f(x, w).block_until_ready()\n"
        "for _ in range(20): y = f(y, w)",
    )


def test_small_networks_do_not_load_llvm():
    """It takes 50 MB of memory."""
    code = (
        "import sys, jax, jax.numpy as jnp; from gconv_jax import P4, group_conv\n"
        "x, w = jnp.ones((1, 5, 5, 4, {c})), jnp.ones((3, 3, 4, {c}, {c}))\n"
        "jax.jit(lambda x, w: group_conv(x, w, group=P4))(x, w)\n"
        "print('llvmlite' in sys.modules)"
    )
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    for channels, expected in ((5, "False"), (32, "True")):
        command = [sys.executable, "-c", code.replace("{c}", str(channels))]
        run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        assert run.stdout.strip() == expected, run.stderr
