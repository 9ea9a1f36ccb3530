"""The choice of algorithm for a group convolution: a filter bank, or a Fourier transform."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from gconv_jax.conv.exact_subgroup import exact_subgroup
from gconv_jax.conv.fourier import Platform, cpu_way, is_gathered
from gconv_jax.filters.basis import Filters, find_basis
from gconv_jax.groups.correlation import multiplications
from gconv_jax.groups.finite import FiniteGroup

Algorithm = Literal["auto", "dense", "fourier"]
ALGORITHMS = ("auto", "dense", "fourier")

# The cost of transforming one number, in multiplications of the dense form: for each tap, once, and
# for each tap and element of the group. The figures are fitted to benchmarks/group_conv.py on a CPU
# with AVX-512, for each way to convolve there. `native` is the transform in machine code, where the
# last figure counts the terms of its sums, by how fast the processor multiplies: the slower, the
# more the transform saves (`gconv_jax._native.llvm.Arithmetic`). Large filters cost less, since the
# output is transformed once for all taps. The figures of `short` are fitted to Zen 1.
COST_OF_TRANSFORM = {
    "patches": (41, 169, 0),
    "patches, short": (32, 20, 0),
    "onednn": (90, 120, 0),
    "native, full": (9, 34, 1.75),
    "native, halves": (4, 14, 1.4),
    "native, short": (4, 1, 1),
}
# The cost where XLA gathers the patches; measured in three dimensions.
COST_OF_GATHER = 300
# The cost of the filter bank of 3x3x3 taps, in that of all its products: 64/216 of them are left,
# but making the bank costs as much as before. Between 8^3 and 12^3 voxels the best value varies.
COST_OF_BANK = 0.45

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
    """Return the platforms on which a group convolution uses the Fourier transform.

    For each tap and pixel the filter bank takes ``|G|^2 C_in C_out`` multiplications, and the
    transform takes ``m C_in C_out`` (`gconv_jax.groups.correlation.multiplications`) and transforms
    ``|G| (C_in + C_out)`` numbers in addition. On a CPU ``auto`` is ``fourier`` if

        (|G|^2 - m) C_in C_out > tau |G| (C_in + C_out),
        tau = a + b / taps + c |G|

    with a, b and c of `COST_OF_TRANSFORM`, or tau = `COST_OF_GATHER` where XLA gathers patches.
    Where the bank has fewer products (`gconv_jax.planar.winograd`), ``|G|^2`` counts `COST_OF_BANK`
    of that. The smallest numbers of channels are therefore

    ================  ============  ========================  =======================
    filters, group    machine code  XLA, patches otherwise    XLA, oneDNN otherwise
    ================  ============  ========================  =======================
    3x3, P4M          9 (6, 4)      19 (11)                   32
    3x3, P4           15 (9, 6)     44 (25)                   76
    3x3x3, octahedral 5 (4, 3)      74                        29
    ================  ============  ========================  =======================

    where the numbers in parentheses are for processors that multiply vectors in halves (Zen 4), and
    for those without AVX-512; in the second column only for the latter.

    With strides ``auto`` is ``dense``, since the transform's input gradient gains nothing there.
    On other platforms it is always ``dense``. There the matrix units multiply so fast that without
    a fused kernel the transform's traffic with memory costs more than it saves: on an H200 it took
    1.2 to 5.5 times as long (benchmarks/gpu.py; P4 and P4M, 3x3 and 1x1, 16 and 64 channels).

    Args:
        algorithm: ``dense`` gives no platform, ``fourier`` both.
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
    dense, transformed = group.order**2, multiplications(group)

    def pays(way: str) -> bool:
        each, once, element = COST_OF_TRANSFORM[way]
        few = way.startswith("patches") and tuple(kernel) == (3, 3, 3)
        saved = (COST_OF_BANK * dense if few else dense) - transformed
        gathered = not way.startswith("native") and is_gathered(group, kernel)
        tau = COST_OF_GATHER if gathered else each + once / taps + element * group.order
        return saved * c_in * c_out > tau * group.order * (c_in + c_out)

    # Machine code is the cheapest way for the groups that it is made for. LLVM takes 50 MB of
    # memory, so it is loaded only where it may pay.
    if not pays("native, short"):
        return ()
    return ("cpu",) if pays(cpu_way(group, dtype)) else ()


def check_algorithm(
    algorithm: Algorithm, group: FiniteGroup | None = None, filters: Filters = "pixel"
) -> None:
    """Raise ValueError unless ``algorithm`` is one of `ALGORITHMS` and suits these filters."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"`algorithm` must be one of {', '.join(ALGORITHMS)}, got {algorithm!r}")
    if algorithm != "fourier" or group is None or find_basis(filters, group) is None:
        return
    if exact_subgroup(group).is_trivial:
        raise ValueError(
            f"`algorithm` must be 'auto' or 'dense' for these filters over {group!r}, got "
            "'fourier': the transform needs elements that move the taps of a square onto taps"
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
