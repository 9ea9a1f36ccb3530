"""Convolutions and poolings with whatever arguments: the right answer, or an error of ours.

Few examples by default, always the same; ``--hypothesis-profile nightly`` draws a thousand.
"""

import traceback
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, strategies as st

from gconv_jax import InexactEquivarianceWarning, avg_pool, group_conv, lift_conv, max_pool
from tests import oracles
from tests.helpers import CASES, Case, law_error

TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 5e-2, "float16": 5e-3}
BAD_PADDINGS = ["full", -1, (1, 2, 3, 4), 1.5, None, ((0, -2), (0, 0))]


@st.composite
def windows(draw, case: Case):
    """``(spatial, kernel, strides, dilation, padding)``, also such as cannot be."""
    each = lambda low, high: st.tuples(*[st.integers(low, high)] * case.dimension)  # noqa: E731
    one_or_each = lambda low, high: st.integers(low, high) | each(low, high)  # noqa: E731
    pairs = st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * case.dimension)
    padding = draw(
        st.sampled_from(["SAME", "VALID", "CIRCULAR", "REFLECT", "same"])
        | one_or_each(0, 3)
        | pairs
        | st.sampled_from(BAD_PADDINGS)
    )
    kernel = draw(st.integers(1, 4).map(lambda k: (k,) * case.dimension) | each(1, 4))
    return draw(each(1, 8)), kernel, draw(one_or_each(1, 3)), draw(one_or_each(1, 2)), padding


def per_axis(value, case: Case) -> tuple:
    return (value,) * case.dimension if isinstance(value, int) else tuple(value)


def resolve(case: Case, spatial, size, strides, padding):
    """``(pads, output, mode)`` as the documentation says; None for what it says is an error."""
    modes = {"SAME": "constant", "VALID": "constant", "CIRCULAR": "wrap", "REFLECT": "reflect"}
    if isinstance(padding, str):
        if padding.upper() not in modes:
            return None
        pads = []
        for n, k, s in zip(spatial, size, strides, strict=True):
            total = max((-(-n // s) - 1) * s + k - n, 0)
            total = 0 if padding == "VALID" else total + (total % 2 if s > 1 else 0)
            pads.append((total // 2, total - total // 2))
    elif padding is None or padding in BAD_PADDINGS:
        return None
    else:
        pads = [(p, p) if isinstance(p, int) else p for p in per_axis(padding, case)]
    mode = modes[padding.upper()] if isinstance(padding, str) else "constant"
    output = [
        (n + sum(p) - k) // s + 1 for n, p, k, s in zip(spatial, pads, size, strides, strict=True)
    ]
    return None if min(output) < 1 else (pads, tuple(output), mode)


def turns_on_its_side(case: Case, kernel) -> bool:
    exchanged = (np.abs(case.matrices) > 0).any(0)
    return any(
        exchanged[a, b] and kernel[a] != kernel[b] for a in range(len(kernel)) for b in range(a)
    )


def call(function, x):
    """``(result or None, whether it warned)``; errors that are not ours are passed on."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            y = function(x)
        except (ValueError, TypeError) as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            if "gconv_jax" in last.filename and "`" in str(error):
                return None, False
            raise
    assert {w.category for w in caught} <= {InexactEquivarianceWarning}
    return y, bool(caught)


def check_value(y, expected, dtype) -> None:
    assert y.shape == expected.shape and y.dtype == dtype
    error = np.abs(np.asarray(y, np.float64) - expected).max(initial=0)
    assert error <= TOLERANCE[dtype] * max(np.abs(expected).max(initial=0), 1), error


@given(data=st.data())
def test_convolutions(data, x64):
    case = data.draw(st.sampled_from(CASES), "group")
    spatial, kernel, strides, dilation, padding = data.draw(windows(case), "windows")
    lifting = data.draw(st.booleans(), "lifting")
    batch, c_in, c_out = data.draw(st.tuples(*[st.integers(1, 3)] * 3), "batch and channels")
    dtype = data.draw(st.sampled_from(sorted(TOLERANCE)), "dtype")
    algorithm = "auto" if lifting else data.draw(st.sampled_from(["auto", "dense", "fourier"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    group_axis = () if lifting else (case.order,)

    def numbers(*shape):  # that every dtype holds
        return rng.integers(-8, 9, shape) / 8

    x = numbers(batch, *spatial, *group_axis, c_in)
    w = numbers(*kernel, *group_axis, c_in, c_out)
    options = {"strides": strides, "padding": padding, "dilation": dilation, "group": case.group}
    options |= {} if lifting else {"algorithm": algorithm}
    conv = lift_conv if lifting else group_conv

    def layer(x):
        return conv(jnp.asarray(x, dtype), jnp.asarray(w, dtype), **options)

    y, warned = call(layer, x)
    strides, dilation = per_axis(strides, case), per_axis(dilation, case)
    size = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    resolved = resolve(case, spatial, size, strides, padding)
    if resolved is None or turns_on_its_side(case, kernel):
        assert y is None, "this is a mistake, which the library took"
        return
    assert y is not None, "this is no mistake, and the library refuses it"
    pads, output, mode = resolved
    around = [(0, 0)] * (x.ndim - 1 - case.dimension)
    padded = np.pad(x, [(0, 0), *pads, *around], mode=mode)
    expected = oracles.conv(
        case, padded, w, lifting=lifting, strides=strides, low=[0] * case.dimension, output=output,
        dilation=dilation,
    )  # fmt: skip
    check_value(y, expected, dtype)
    if not warned and np.abs(expected).max() > 0:
        in_float64 = jax.jit(lambda x: conv(x, jnp.asarray(w), **options))
        assert law_error(in_float64, case, x, lifted=(not lifting, True)) < 1e-12


@given(data=st.data())
def test_pools(data, x64):
    case = data.draw(st.sampled_from(CASES), "group")
    spatial, window, strides, _, padding = data.draw(windows(case), "windows")
    lifted, largest = data.draw(st.tuples(st.booleans(), st.booleans()), "lifted, maximum")
    rng = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    x = rng.normal(size=(2, *spatial, *([case.order] if lifted else []), 2))
    options = {"window_shape": window, "strides": strides, "padding": padding, "lifted": lifted}
    pool = max_pool if largest else avg_pool

    def layer(x):
        return pool(jnp.asarray(x), group=case.group, **options)

    y, warned = call(layer, x)
    strides = per_axis(strides, case)
    resolved = resolve(case, spatial, window, strides, padding)
    if resolved is None or resolved[2] != "constant":
        assert y is None, "this is a mistake, which the library took"
        return
    pads, output, _ = resolved
    if any(max(p) >= k for p, k in zip(pads, window, strict=True)):
        assert y is None, "a window may lie in the padding alone"
        return
    assert y is not None, "this is no mistake, and the library refuses it"
    reduce = (lambda p: p.max(0)) if largest else (lambda p: p.sum(0) / np.prod(window))
    expected = oracles.pool(
        x, first=1, window=window, strides=strides, low=[p[0] for p in pads], output=output,
        reduce=reduce,
    )  # fmt: skip
    check_value(y, expected, "float64")
    if not warned:
        assert law_error(layer, case, x, lifted=(lifted, lifted)) < 1e-12
