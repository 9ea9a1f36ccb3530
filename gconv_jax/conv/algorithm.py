"""The algorithm that computes a group convolution: a filter bank, or a Fourier transform."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from gconv_jax.conv.fourier import Platform, is_gathered, is_native
from gconv_jax.filters.basis import FilterBasis
from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.groups.irreps import real_irreps
from gconv_jax.planar import implementation as planar

Algorithm = Literal["auto", "dense", "fourier"]
ALGORITHMS = ("auto", "dense", "fourier")

# What a number costs to transform, in multiplications of the dense form: (for each tap, once, and
# for each tap and element of the group). Fitted to benchmarks/group_conv.py on a CPU with AVX-512,
# for the ways to convolve there; `native` is the transform in machine code of its own, where what
# is counted last are the terms of its sums. Large filters cost less: what is transformed once, the
# output, counts for less.
COST_OF_TRANSFORM = {"patches": (41, 169, 0), "onednn": (90, 120, 0), "native": (9, 34, 1.75)}
# Of patches that are gathered by XLA; measured in three dimensions.
COST_OF_GATHER = 300
# Elsewhere only pointwise convolutions are transformed, for which no patches are made, and only
# those of so many channels on both sides that multiplications count. By the count, not measured.
POINTWISE_CHANNELS = 512

_auto: Algorithm = "auto"


def fourier_platforms(
    algorithm: Algorithm,
    *,
    group: FiniteGroup,
    kernel: Sequence[int],
    strides: Sequence[int],
    c_in: int,
    c_out: int,
    dtype: DTypeLike = jnp.float32,
) -> tuple[Platform, ...]:
    """The platforms on which a group convolution uses the Fourier transform.

    For each tap and pixel the filter bank takes ``|G|^2 C_in C_out`` multiplications and the
    transform ``sum_rho (d^3 / e) C_in C_out`` (`gconv_jax.groups.irreps`). In turn ``|G| (C_in +
    C_out)`` numbers are transformed. On a CPU ``auto`` is ``fourier`` if

        (|G|^2 - sum_rho d^3 / e) C_in C_out > tau |G| (C_in + C_out),
        tau = a + b / taps + c |G|

    with a, b and c of `COST_OF_TRANSFORM`. In machine code (`gconv_jax._native.fourier_call`) that
    is, with 3x3 filters, from 9 channels on for P4M and from 16 for P4, and with 3x3x3 filters from
    5 for the rotations of the cube. By XLA it is from 19 and 48, or where oneDNN convolves from 32
    and 83; where XLA gathers patches tau is `COST_OF_GATHER`, so for the cube from 29. With strides
    it is ``dense``, since the transform's input gradient gains nothing there. On other platforms it
    is ``fourier`` only for pointwise convolutions with `POINTWISE_CHANNELS`: without a fused
    kernel, memory traffic would eat up what is saved.

    Args:
        algorithm: ``dense`` and ``fourier`` are nowhere and everywhere.
        group, kernel, strides, c_in, c_out, dtype: the convolution, channels for each element.

    Returns:
        A subset of ``cpu`` and ``other``.
    """
    check_algorithm(algorithm)
    if algorithm == "auto":
        algorithm = _auto
    if algorithm != "auto":
        return () if algorithm == "dense" else ("cpu", "other")
    if group.order == 1 or max(strides) > 1:
        return ()
    taps = math.prod(kernel)
    saved = group.order**2 - sum(irrep.cost for irrep in real_irreps(group))

    def pays(way: str) -> bool:
        each, once, element = COST_OF_TRANSFORM[way]
        gathered = way != "native" and is_gathered(group, kernel)
        tau = COST_OF_GATHER if gathered else each + once / taps + element * group.order
        return saved * c_in * c_out > tau * group.order * (c_in + c_out)

    platforms: tuple[Platform, ...] = ()
    # Machine code is always the cheapest way. LLVM takes 50 MB of memory, so it is asked for only
    # where that is of use.
    if pays("native") and (is_native(group, dtype) or pays(planar.cpu_implementation())):
        platforms = (*platforms, "cpu")
    if taps == 1 and group.order * min(c_in, c_out) >= POINTWISE_CHANNELS:
        platforms = (*platforms, "other")
    return platforms


def check_algorithm(algorithm: Algorithm, basis: FilterBasis | None = None) -> None:
    """ValueError unless it is one of `ALGORITHMS`, and one for filters of this basis."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"`algorithm` must be one of {', '.join(ALGORITHMS)}, got {algorithm!r}")
    if algorithm == "fourier" and basis is not None:
        raise ValueError(
            "`algorithm` must be 'auto' or 'dense' for filters other than pixels, got 'fourier': "
            "the transform needs filters whose taps move onto taps"
        )


@contextlib.contextmanager
def auto_algorithm(algorithm: Algorithm) -> Iterator[None]:
    """Force what ``auto`` stands for, for tests and measurements.

    The choice is made while tracing, so this clears JAX's caches on both ends; it holds for all
    threads.
    """
    global _auto
    check_algorithm(algorithm)
    before, _auto = _auto, algorithm
    jax.clear_caches()
    try:
        yield
    finally:
        _auto = before
        jax.clear_caches()
