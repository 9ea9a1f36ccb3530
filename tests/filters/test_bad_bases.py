"""Errors about filters that turn by any angle: their options, bases, shapes and combinations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import (
    P4,
    P4M,
    Harmonic,
    Interpolated,
    cyclic,
    filter_bank,
    lift_conv,
    mirror,
    nnx as gnnx,
)

BANK_OPTIONS = ("group", "lifting", "filters", "kernel_size")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rings": [-1]}, ValueError, "`rings` must be finite and at least 0, got"),
        ({"rings": [float("nan")]}, ValueError, "`rings` must be finite"),
        ({"rings": []}, ValueError, "`rings` must be finite"),
        ({"rings": 2}, ValueError, "`rings` must be a sequence of radii"),
        ({"rings": ["a"]}, TypeError, "`rings` must be numbers"),
        ({"rings": [0, 9]}, ValueError, r"`rings` must be at most 2.5 pixels, half the kernel_siz"),
        ({"rings": [0, 1], "sigma": [1]}, ValueError, "`sigma` must be one number, or one for ea"),
        ({"sigma": (1, 1)}, ValueError, "`sigma` must be one number, or one for each of the 3"),
        ({"sigma": -1.0}, ValueError, "`sigma` must be finite and positive, got"),
        ({"sigma": "wide"}, TypeError, "`sigma` must be numbers, got 'wide'"),
        ({"max_frequency": -1}, ValueError, "`max_frequency` must be finite and at least 0"),
        ({"max_frequency": 1.5}, TypeError, "`max_frequency` must be integers, got 1.5"),
        ({"max_frequency": (0, 3, 2)}, ValueError, "`max_frequency` must be at most 2 on the ring"),
    ],
)
def test_bad_harmonics(options, error, message):
    with pytest.raises(error, match=message):
        Harmonic(**options)(np.zeros((1, 2)), 5)


@pytest.mark.parametrize("method", ["cubic", ["bilinear"]])
def test_bad_interpolation(method):
    with pytest.raises(ValueError, match=r"`method` must be one of bilinear, bicubic, got"):
        Interpolated(method)


@pytest.mark.parametrize(
    ("filters", "error", "message"),
    [
        ("steerable", ValueError, "`filters` must be one of pixel, bilinear, bicubic, harmonic"),
        (3, TypeError, "`filters` must be one of"),
        (Harmonic, TypeError, "`filters` must be one of"),
        (lambda points, size: points[..., :0], ValueError, "`filters` must return .*got shape"),
        (lambda points, size: points[0], ValueError, "`filters` must return .*got shape"),
        (lambda points, size: points * np.nan, ValueError, "`filters` must return finite"),
        (lambda points, size: points * 1j, TypeError, "`filters` must compute with NumPy"),
        (lambda points, size: jnp.exp(points), TypeError, "`filters` must compute with NumPy"),
        (lambda points, size: points.astype(np.float32), TypeError, "return float64 numbers"),
        (
            lambda points, size: np.repeat(points, 1 + (points[0, 0] > 0), -1),
            ValueError,
            "`filters` must return as many functions at all points",
        ),
    ],
)
def test_bad_bases(filters, error, message):
    for call in (filter_bank, jax.jit(filter_bank, static_argnames=BANK_OPTIONS)):
        with pytest.raises(error, match=message):
            call(jnp.ones((6, 1, 1)), group=P4, lifting=True, filters=filters, kernel_size=3)


def test_bad_shapes_and_combinations():
    w = jnp.ones((6, 1, 1))
    with pytest.raises(ValueError, match="`kernel_size` must be given with filters='harmonic'"):
        filter_bank(w, group=P4, lifting=True, filters="harmonic")
    with pytest.raises(ValueError, match=r"`w` must be \[6, \|G\|, C_in, C_out\] .*size \(3, 3\)"):
        filter_bank(w, group=P4, filters="harmonic", kernel_size=3)
    with pytest.raises(ValueError, match=r"`w` must be \[11, C_in, C_out\]"):
        filter_bank(w, group=P4, lifting=True, filters="harmonic", kernel_size=5)
    with pytest.raises(ValueError, match="group axis of size 8"):
        filter_bank(jnp.ones((6, 4, 1, 1)), group=P4M, filters="harmonic", kernel_size=3)
    with pytest.raises(ValueError, match="`kernel_size` must be equal on both axes"):
        filter_bank(w, group=P4, lifting=True, filters="harmonic", kernel_size=(3, 5))
    with pytest.raises(ValueError, match="`filters` must be 'pixel' for a group that does not"):
        gnnx.LiftConv(1, 1, 3, group=mirror(1), filters="harmonic", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`algorithm` must be 'auto' or 'dense' for these filters"):
        gnnx.GroupConv(
            1, 1, 3, group=cyclic(5), filters="harmonic", algorithm="fourier", rngs=nnx.Rngs(0)
        )
    with pytest.raises(ValueError, match="`dtype` must be floating for filters='harmonic', got"):
        lift_conv(
            jnp.ones((1, 9, 9, 1)), w, group=P4, filters="harmonic", kernel_size=3, dtype=jnp.int32
        )
    with pytest.raises(ValueError, match=r"cyclic\(8\) turns by angles .*filters=\"harmonic\""):
        gnnx.LiftConv(1, 1, 3, group=cyclic(8), rngs=nnx.Rngs(0))


def test_kernel_size_of_pixels_is_checked():
    with pytest.raises(ValueError, match=r"`w` must be \[3, 3, C_in, C_out\]"):
        filter_bank(jnp.ones((5, 5, 1, 1)), group=P4, lifting=True, kernel_size=3)
