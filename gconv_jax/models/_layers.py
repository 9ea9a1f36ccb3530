"""Layers, initializers and checks that the reference networks share."""

from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx
from jax.nn.initializers import variance_scaling
from jax.typing import DTypeLike

from gconv_jax.filters.basis import Filters
from gconv_jax.filters.initializers import compile_unoptimized
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.nnx import BatchNorm
from gconv_jax.ops.arguments import check_integer

# N(0, 1 / fan_in), with which the networks for rotated MNIST begin.
unit_variance = compile_unoptimized(variance_scaling(1.0, "fan_in", "normal"))


class ConvNormReLU(nnx.Module):
    """A layer of a convolution, batch normalization and ReLU."""

    def __init__(self, conv: Any, *, dtype: DTypeLike | None, rngs: nnx.Rngs):
        self.conv = conv
        self.norm = batch_norm(conv.out_features, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return nnx.relu(self.norm(self.conv(x)))


def batch_norm(features: int, *, dtype: DTypeLike | None, rngs: nnx.Rngs) -> BatchNorm:
    """Return batch normalization with the momentum and epsilon of Cohen & Welling's networks."""
    return BatchNorm(features, momentum=0.9, epsilon=2e-5, dtype=dtype, rngs=rngs)


def scaled_width(width: int, group: FiniteGroup) -> int:
    """Return ``width / sqrt(|G|)``, rounded: the channels for each group element.

    They keep the number of parameters near that of a plain network with ``width`` channels.
    """
    return max(1, round(width / group.order**0.5))


def check_planar(group: FiniteGroup, *, name: str = "group") -> FiniteGroup:
    """Return ``group`` itself; TypeError or ValueError unless it acts on the plane."""
    check_group(group, name=name)
    if group.dimension != 2:
        raise ValueError(
            f"`{name}` must act on the plane, since the network takes images, got {group!r} of "
            f"dimension {group.dimension}"
        )
    return group


def spread_groups(groups: Sequence[FiniteGroup], layers: int) -> tuple[FiniteGroup, ...]:
    """Return a group for each of ``layers`` layers, from at most as many groups.

    ValueError unless each is a subgroup of the one before it.
    """
    if not isinstance(groups, Sequence):
        raise TypeError(f"`groups` must be a sequence of groups such as (P4M, P4), got {groups!r}")
    if not 1 <= len(groups) <= layers:
        raise ValueError(f"`groups` must be 1 to {layers} groups, got {len(groups)}: {groups!r}")
    for i, group in enumerate(groups):
        check_planar(group, name=f"groups[{i}]")
        if i and not set(group.isometries) <= set(groups[i - 1].isometries):
            raise ValueError(
                f"`groups` must get smaller with depth, each one a subgroup of the one before it: "
                f"groups[{i}] = {group!r} is no subgroup of groups[{i - 1}] = {groups[i - 1]!r}"
            )
    return tuple(groups[i * len(groups) // layers] for i in range(layers))


def check_outputs(classes: int) -> int:
    """Return the number of outputs; TypeError or ValueError unless it is an integer from 0 on."""
    return check_integer("classes", classes, least=0)


def default_filters(group: FiniteGroup) -> Filters:
    """Return pixels where the group can turn them, and circular harmonics for finer rotations."""
    return "pixel" if group.is_lattice else "harmonic"


def check_images(x: jax.Array, smallest: int, dimension: int = 2) -> None:
    """Raise ValueError unless ``x`` is ``[N, H, W, C]`` with H and W at least ``smallest``, or
    volumes ``[N, D, H, W, C]`` if the dimension is 3."""
    if x.ndim != dimension + 2 or min(x.shape[1:-1]) < smallest:
        kind, axes = ("images", "H, W") if dimension == 2 else ("volumes", "D, H, W")
        size = " x ".join([str(smallest)] * dimension)
        unit = "pixels" if dimension == 2 else "voxels"
        raise ValueError(
            f"`x` must be {kind} [N, {axes}, C] of at least {size} {unit}, got shape {x.shape}"
        )
