"""Parameters that several layers have: a kernel or a scale, and a bias."""

from typing import Any

import jax

from gconv_jax.filters.initializers import compile_unoptimized


def kernel_and_bias(
    layer: Any, shape: tuple[int, ...], features: int
) -> tuple[jax.Array, jax.Array | None]:
    """Return the kernel of a layer, and its bias or None, by the layer's own options."""
    init = compile_unoptimized(layer.kernel_init)
    kernel = layer.param("kernel", init, shape, layer.param_dtype)
    bias = None
    if layer.use_bias:
        bias = layer.param("bias", layer.bias_init, (features,), layer.param_dtype)
    return kernel, bias


def scale_and_bias(layer: Any, features: int) -> tuple[jax.Array | None, jax.Array | None]:
    """Return the scale and the bias of a normalization, or None, by the layer's own options."""
    scale = bias = None
    if layer.use_scale:
        scale = layer.param("scale", layer.scale_init, (features,), layer.param_dtype)
    if layer.use_bias:
        bias = layer.param("bias", layer.bias_init, (features,), layer.param_dtype)
    return scale, bias
