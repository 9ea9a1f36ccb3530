"""Parts that `GroupViT` and `GroupConvNeXt` share."""

import jax
from flax import nnx
from jax.typing import DTypeLike

from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.groups.irrep_features import SameFeatures, pointwise
from gconv_jax.nnx import GroupLinear
from gconv_jax.ops.arguments import spatial_axes


class GroupMLP(nnx.Module):
    """Two linear maps at each position with a GELU in between, over the group and its channels."""

    def __init__(
        self,
        features: int,
        hidden: int,
        *,
        group: FiniteGroup,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs,
    ):
        self.up = GroupLinear(features, hidden, group=group, dtype=dtype, rngs=rngs)
        self.down = GroupLinear(hidden, features, group=group, dtype=dtype, rngs=rngs)

    def __call__(self, x: SameFeatures) -> SameFeatures:
        """``[..., |G|, features]``, or `IrrepFeatures`, to the same."""
        return self.down(pointwise(nnx.gelu, self.up(x)))


def channels_of(width: int, group: FiniteGroup, name: str = "width") -> int:
    """Return the channels for each group element of features of a width in all."""
    if width % group.order:
        raise ValueError(
            f"`{name}` must be divisible by the {group.order} elements of {group!r}, got {width}"
        )
    return width // group.order


def check_divisible(x: jax.Array, group: FiniteGroup, divisor: int, in_features: int) -> None:
    """Raise ValueError unless ``x`` is a batch of images whose sides a stride divides."""
    sides = x.shape[1:-1]
    if (
        x.ndim != group.dimension + 2
        or x.shape[-1] != in_features
        or any(n < 1 or n % divisor for n in sides)
    ):
        axes = ", ".join(spatial_axes(group.dimension))
        raise ValueError(
            f"`x` must be [N, {axes}, C={in_features}] with sides divisible by {divisor}, got "
            f"shape {x.shape}: pad or crop the images"
        )


def spread_rates(rate: float, blocks: int) -> list[float]:
    """Return the rates of stochastic depth: from 0 at the first block to ``rate`` at the last."""
    return [rate * i / max(blocks - 1, 1) for i in range(blocks)]
