"""Parameters that several layers have: a kernel or a scale, and a bias."""

import jax
from flax import nnx
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from gconv_jax.filters.initializers import compile_unoptimized


def make_parameter(
    used: bool, init: Initializer, shape: tuple[int, ...], dtype: DTypeLike, rngs: nnx.Rngs
) -> nnx.Param | None:
    """Return a parameter, or None in the form that NNX allows for one that is not there."""
    return nnx.Param(init(rngs.params(), shape, dtype)) if used else nnx.data(None)


def make_kernel(
    init: Initializer, shape: tuple[int, ...], dtype: DTypeLike, rngs: nnx.Rngs
) -> nnx.Param:
    """Return a kernel, whose initializer takes longer to compile than to run."""
    return nnx.Param(compile_unoptimized(init)(rngs.params(), shape, dtype))


def value_of(parameter: nnx.Param | None) -> jax.Array | None:
    """Return the array of a parameter that may not be there."""
    return None if parameter is None else parameter[...]
