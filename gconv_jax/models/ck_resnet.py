"""Networks on continuous groups that learn how equivariant they are, layer by layer."""

import functools
from typing import Any

import jax
from flax import nnx
from jax.typing import DTypeLike

from gconv_jax.continuous.kernel_networks import KernelNetwork, Siren
from gconv_jax.continuous.sampled import SampledFeatures, check_samples, instance_norm, sampled_pool
from gconv_jax.groups.finite import P4M
from gconv_jax.groups.lie import SO2, LieGroup, PlanarGroup
from gconv_jax.models._layers import check_images, check_outputs
from gconv_jax.models._network import Network
from gconv_jax.nnx import BatchNorm, ContinuousGroupConv, ContinuousLiftConv, PartialGroupConv
from gconv_jax.ops.maximum import max_over
from gconv_jax.pooling.spatial import max_pool

DEFAULT_SAMPLES = 8


class CKResNet(Network):
    """A residual network with continuous 7x7 kernels, for small images.

    Romero & Lohit 2021 (arXiv:2110.10211) use it for rotated MNIST, MNIST6 and CIFAR. Its layers
    are a lifting convolution and two residual blocks, each of two group convolutions with instance
    normalization and a pointwise one beside them. The pixels are halved twice. A group convolution
    without padding, the maximum over group and space and a linear layer follow. The network has
    468,079 parameters over SO(2).

    With ``partial`` the group convolutions learn their support. The pointwise ones do not: they
    share the elements of the layer beside them. Without it, or with full supports, the logits of
    evaluation are invariant under the elements of the grid that keep pixels. These are quarter
    turns, if the number of rotations is a multiple of four, and mirrorings.

    Args:
        group: `SO2()`, `O2()`, or a finite group of the plane; `Z2` for the plain network.
        samples: the elements of a continuous group that each layer samples, half of them mirrored
            in O(2).
        partial: whether layers learn their support.
        width: the channels of the first layers; the last have twice as many. The published ones are
            32, and 10 for MNIST6.
        kernel_size: the size of the convolutions that are not pointwise.
        kernel_network: the network whose values are the filters.
        early_pool: whether the pixels are halved after the lifting layer and the first block, as
            published for rotated MNIST, and not after the two blocks.
        dropout: the dropout rate of whole channels, inside the blocks.
        classes, in_features, dtype: as in the other networks.
        rngs: the random keys ``params``, ``samples`` and ``dropout``.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax import O2
    >>> from gconv_jax.models import CKResNet
    >>> options = {"group": O2(), "samples": 8, "partial": True}
    >>> model = nnx.eval_shape(lambda: CKResNet(**options, rngs=nnx.Rngs(0)))
    >>> sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    468276
    """

    def __init__(
        self,
        *,
        group: PlanarGroup = SO2(),  # noqa: B008
        samples: int | None = None,
        partial: bool = False,
        width: int = 32,
        kernel_size: int = 7,
        kernel_network: KernelNetwork = Siren(),  # noqa: B008
        early_pool: bool = True,
        dropout: float = 0.0,
        classes: int = 10,
        in_features: int = 1,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        options = _options(group, samples, kernel_network, dtype, rngs)
        self.pools = (0, 1) if early_pool else (1, 2)
        self.kernel_size = kernel_size
        widths = (width, width, 2 * width)
        self.lift = ContinuousLiftConv(in_features, width, kernel_size, **options)
        self.lift_norm = BatchNorm(width, dtype=dtype, rngs=rngs)
        for i in (1, 2):
            block = _Block(
                widths[i - 1], widths[i], kernel_size, partial=partial, dropout=dropout, **options
            )
            setattr(self, f"block{i}", block)
        self.last = _kind(partial)(2 * width, 2 * width, kernel_size, padding="VALID", **options)
        self.last_norm = BatchNorm(2 * width, dtype=dtype, rngs=rngs)
        self.classes = check_outputs(classes)
        if classes:
            self.linear = nnx.Linear(2 * width, classes, dtype=dtype, rngs=rngs)

    def feature_maps(self, x: jax.Array) -> SampledFeatures:
        """Return the feature maps before the last layer, with the elements that they are sampled
        at: their ``values`` are ``[N, H, W, S, C]``."""
        check_images(x, 4 * self.kernel_size)
        y: SampledFeatures = self.lift_norm(self.lift(x))
        for i in range(3):
            if i:
                y = getattr(self, f"block{i}")(y)
            y = (_halve(y) if i in self.pools else y).map(nnx.relu)
        return self.last_norm(self.last(y)).map(nnx.relu)

    def _pool(self, maps: SampledFeatures) -> jax.Array:
        return max_over(sampled_pool(maps), (1, 2))

    def _outputs(self, maps: SampledFeatures) -> jax.Array:
        return self.linear(self._pool(maps))


class _Block(nnx.Module):
    """A block of two convolutions and a pointwise one beside them, at the same elements."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int,
        *,
        partial: bool,
        dropout: float,
        rngs: nnx.Rngs,
        **options,
    ):
        conv = _kind(partial)
        self.conv1 = conv(in_features, out_features, kernel_size, rngs=rngs, **options)
        self.conv2 = conv(out_features, out_features, kernel_size, rngs=rngs, **options)
        self.dropout = nnx.Dropout(dropout, broadcast_dims=(1, 2, 3), rngs=rngs)
        pointwise: dict[str, Any] = {**options, "kernel_network": Siren(hidden=16)}
        self.shortcut = ContinuousGroupConv(in_features, out_features, 1, rngs=rngs, **pointwise)
        self.norm = BatchNorm(out_features, dtype=options["dtype"], rngs=rngs)

    def __call__(self, x: SampledFeatures) -> SampledFeatures:
        y = instance_norm(self.conv1(x)).map(nnx.relu).map(self.dropout)
        y = instance_norm(self.conv2(y)).map(nnx.relu)
        beside = self.shortcut(x, y.elements).values
        return self.norm(y.map(lambda values: values + beside))


class PartialGCNN13(Network):
    """The 13-layer network of Romero & Lohit 2021 (arXiv:2110.10211).

    It follows Laine & Aila 2016 (arXiv:1610.02242). A lifting and eight group convolutions 3x3 have
    128 or 256 channels, each with batch normalization and ReLU. Halving and dropout come after the
    third and the sixth, dropout after the last. The mean over group and space and a linear layer
    follow. The network has 3,994,474 parameters over SO(2) for color images.

    Args:
        group, samples, partial, classes, in_features, dtype, rngs: as in `CKResNet`.
        width: the channels of the first two layers; the others have twice as many.
        kernel_network: the network whose values are the filters; 8 hidden channels as published.
        dropout: the dropout rate of whole channels.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax.models import PartialGCNN13
    >>> model = nnx.eval_shape(lambda: PartialGCNN13(samples=4, in_features=3, rngs=nnx.Rngs(0)))
    >>> sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    3994474
    """

    def __init__(
        self,
        *,
        group: PlanarGroup = SO2(),  # noqa: B008
        samples: int | None = None,
        partial: bool = False,
        width: int = 128,
        kernel_network: KernelNetwork = Siren(hidden=8),  # noqa: B008
        dropout: float = 0.3,
        classes: int = 10,
        in_features: int = 1,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        options = _options(group, samples, kernel_network, dtype, rngs)
        widths = (width, width, *[2 * width] * 7)
        conv = _kind(partial)
        self.conv0 = ContinuousLiftConv(in_features, width, 3, **options)
        for i in range(1, 9):
            setattr(self, f"conv{i}", conv(widths[i - 1], widths[i], 3, **options))
        self.norm0 = BatchNorm(width, dtype=dtype, rngs=rngs)
        for i in range(1, 9):
            setattr(self, f"norm{i}", BatchNorm(widths[i], dtype=dtype, rngs=rngs))
        self.dropout = nnx.Dropout(dropout, broadcast_dims=(1, 2, 3), rngs=rngs)
        self.classes = check_outputs(classes)
        if classes:
            self.linear = nnx.Linear(2 * width, classes, dtype=dtype, rngs=rngs)

    def feature_maps(self, x: jax.Array) -> SampledFeatures:
        """Return the feature maps before the last layer, with the elements that they are sampled
        at: their ``values`` are ``[N, H, W, S, C]``."""
        check_images(x, 4)
        y = self.norm0(self.conv0(x)).map(nnx.relu)
        for i in range(1, 9):
            y = getattr(self, f"norm{i}")(getattr(self, f"conv{i}")(y)).map(nnx.relu)
            if i in (2, 5):
                y = _halve(y)
            if i in (2, 5, 8):
                y = y.map(self.dropout)
        return y

    def _pool(self, maps: SampledFeatures) -> jax.Array:
        return sampled_pool(maps, reduce="mean").mean((1, 2))

    def _outputs(self, maps: SampledFeatures) -> jax.Array:
        return self.linear(self._pool(maps))


def _options(
    group: PlanarGroup,
    samples: int | None,
    kernel_network: KernelNetwork,
    dtype: DTypeLike | None,
    rngs: nnx.Rngs,
) -> dict:
    """Return the arguments that all layers have in common."""
    if samples is None and isinstance(group, LieGroup):
        samples = DEFAULT_SAMPLES
    return {
        "group": group,
        "samples": check_samples(group, samples),
        "kernel_network": kernel_network,
        "dtype": dtype,
        "rngs": rngs,
    }


def _kind(partial: bool) -> type[ContinuousGroupConv] | type[PartialGroupConv]:
    return PartialGroupConv if partial else ContinuousGroupConv


def _halve(x: SampledFeatures) -> SampledFeatures:
    # 2x2 windows follow the same rule for every group but the trivial one, so P4M stands for all.
    return x.map_images(functools.partial(max_pool, group=P4M, window_shape=2, lifted=False))
