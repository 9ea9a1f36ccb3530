"""What the reference networks share."""

import jax
from flax import nnx
from jax.nn.initializers import variance_scaling
from jax.typing import DTypeLike

from gconv_jax.groups import FiniteGroup, check_group
from gconv_jax.initializers import quick
from gconv_jax.nnx import BatchNorm

# N(0, 1 / fan_in): of the networks for rotated MNIST.
unit_variance = quick(variance_scaling(1.0, "fan_in", "normal"))


class ConvNormReLU(nnx.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, conv: nnx.Module, *, dtype: DTypeLike | None, rngs: nnx.Rngs):
        self.conv = conv
        self.norm = batch_norm(conv.out_features, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return nnx.relu(self.norm(self.conv(x)))


def batch_norm(features: int, *, dtype: DTypeLike | None, rngs: nnx.Rngs) -> BatchNorm:
    """With the momentum and epsilon of Cohen & Welling's networks."""
    return BatchNorm(features, momentum=0.9, epsilon=2e-5, dtype=dtype, rngs=rngs)


def scaled_width(width: int, group: FiniteGroup) -> int:
    """``width / sqrt(|G|)``, rounded: the channels for each element that keep the number of
    parameters near that of a plain network with ``width`` channels."""
    return max(1, round(width / group.order**0.5))


def check_planar(group: FiniteGroup, *, name: str = "group") -> FiniteGroup:
    """``group`` itself; TypeError or ValueError unless it acts on the plane."""
    check_group(group, name=name)
    if group.dimension != 2:
        raise ValueError(
            f"`{name}` must act on the plane, since the network takes images, got {group!r} of "
            f"dimension {group.dimension}"
        )
    return group


def check_images(x: jax.Array, smallest: int) -> None:
    """ValueError unless ``x`` is ``[N, H, W, C]`` with H and W at least ``smallest``."""
    if x.ndim != 4 or min(x.shape[1:3]) < smallest:
        raise ValueError(
            f"`x` must be images [N, H, W, C] of at least {smallest} x {smallest} pixels, got "
            f"shape {x.shape}"
        )
