"""The distribution of new base filters, initializers that are compiled quickly, and changes to
what initializers return."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.core import Tracer
from jax.nn.initializers import Initializer, lecun_normal, normal, truncated_normal, uniform
from jax.typing import DTypeLike

base_filter_init: Initializer = lecun_normal()
"""The default distribution of base filters: normal, truncated at twice its deviation, of variance
``1 / fan_in``, so that white inputs give outputs of variance 1 (LeCun et al. 1998)."""

# XLA:CPU takes seconds to optimize random normal numbers, for every new shape of a kernel, although
# they are drawn once.
# JAX's own initializers are recognized by their code. A wrapper around one copies its name and
# module, but has code of its own, and may have a state, or return more than numbers.
_JAX = {
    getattr(made, "__code__", None)
    for made in (lecun_normal(), normal(), truncated_normal(), uniform())
}
_UNOPTIMIZED = {"xla_backend_optimization_level": 0}
# These shorten compilation once more, where XLA has them: older loop emitters, and one module.
_SHORT = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}


@functools.cache
def _options() -> dict[str, bool | int]:
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        jax.jit(lambda: 0, compiler_options=_SHORT).lower().compile()
        return _UNOPTIMIZED | _SHORT
    return _UNOPTIMIZED


@functools.lru_cache(maxsize=256)
def _compiled(initializer: Initializer):
    return jax.jit(initializer, static_argnums=(1, 2), compiler_options=_options())


def compile_unoptimized(initializer: Initializer) -> Initializer:
    """Return the same initializer, compiled without optimization, which is much faster.

    On a CPU it compiles at least ten times as fast. Values are the same to rounding. Only JAX's
    own random initializers are compiled, since a compiled function must not depend on anything but
    its arguments. All others are returned as they are.

    >>> import jax
    >>> from gconv_jax.filters.initializers import compile_unoptimized
    >>> initializer = compile_unoptimized(jax.nn.initializers.lecun_normal())
    >>> initializer(jax.random.key(0), (3, 3, 1, 8)).shape
    (3, 3, 1, 8)
    """

    code = getattr(initializer, "__code__", None)
    if code is None or code not in _JAX:
        return initializer

    @functools.wraps(initializer)
    def initialize(
        key: jax.Array, shape, dtype: DTypeLike | None = None, *args, **kwargs
    ) -> jax.Array:
        options = () if dtype is None else (dtype,)
        if args or kwargs or not options or isinstance(key, Tracer):
            return initializer(key, shape, *options, *args, **kwargs)  # pyright: ignore[reportArgumentType]
        return _compiled(initializer)(key, tuple(shape), dtype)

    return initialize


def with_new_values(made: Any, function: Callable[[jax.Array], jax.Array]) -> Any:
    """Return the result of an initializer with other values, and with the same Flax metadata.

    Args:
        made: an array, or an array with the metadata of ``nnx.with_partitioning``,
            ``nnx.with_metadata`` or ``nn.with_partitioning``.
        function: a function from the old array to the new one, which has as many axes.

    >>> from flax import nnx
    >>> from jax.nn.initializers import ones
    >>> made = nnx.with_metadata(ones, frozen=True)(jax.random.key(0), (2, 3))
    >>> halves = nnx.Param(with_new_values(made, lambda kernel: kernel / 2))
    >>> float(halves[...].max()), halves.frozen
    (0.5, True)
    """
    if hasattr(made, "raw_value"):  # nnx.VariableMetadata, recognized without an import of Flax
        return dataclasses.replace(made, raw_value=function(made.raw_value))
    return jax.tree.map(function, made)  # Linen's metadata are nodes of a tree
