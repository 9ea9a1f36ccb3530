"""Convolutions on continuous groups as Flax Linen modules: the parameters of a kernel network and
of a support, and a call of `gconv_jax.continuous.conv`."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.nn.initializers import Initializer, zeros

from gconv_jax.continuous.conv import (
    continuous_group_conv_with,
    continuous_lift_conv_with,
    continuous_options,
    coordinate_count,
    scaled_kernel,
    square_kernel,
)
from gconv_jax.continuous.kernel_networks import KernelNetwork, Siren, check_kernel_network
from gconv_jax.continuous.sampled import (
    Elements,
    SampledFeatures,
    all_elements,
    check_samples,
    sample_elements,
)
from gconv_jax.continuous.support import sample_support, support_grid, support_parameters
from gconv_jax.filters.initializers import compile_unoptimized
from gconv_jax.groups.lie import PlanarGroup
from gconv_jax.lattice.padding import PaddingLike
from gconv_jax.ops.arguments import check_integer


class _ContinuousConv(nn.Module):
    """The parameters, and a call of `continuous_lift_conv` or `continuous_group_conv`."""

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] = 1
    padding: PaddingLike = "SAME"
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: lax.PrecisionLike = None
    kernel_network: KernelNetwork = Siren()
    bias_init: Initializer = zeros
    group: PlanarGroup = dataclasses.field(kw_only=True)
    samples: int | None = dataclasses.field(default=None, kw_only=True)
    deterministic: bool | None = dataclasses.field(default=None, kw_only=True)

    lifting: ClassVar[bool]

    @nn.compact
    def __call__(
        self, x, elements: Elements | None = None, *, deterministic: bool | None = None
    ) -> SampledFeatures:
        """Features at ``elements``, by default random ones, or the fixed ones if
        ``deterministic``."""
        samples = check_samples(self.group, self.samples)
        network = check_kernel_network(self.kernel_network)
        features = check_integer("features", self.features, least=1)
        kernel_size = square_kernel(self.kernel_size)
        in_features = (x if self.lifting else x.values).shape[-1]
        inputs = coordinate_count(self.group, kernel_size, lifting=self.lifting)
        parameters = {
            name: self.param(name, compile_unoptimized(initializer), shape, self.param_dtype)
            for name, (initializer, shape) in network.parameters(
                inputs, in_features * features
            ).items()
        }
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (features,), self.param_dtype)
        deterministic = nn.merge_param("deterministic", self.deterministic, deterministic)
        found = self._elements(samples, deterministic)
        kernel = scaled_kernel(
            partial(network, parameters),
            in_features=in_features,
            out_features=features,
            kernel_size=kernel_size,
            samples=1 if self.lifting else samples,
        )
        options = continuous_options(
            type(self).__name__,
            self.group,
            bias=bias,
            strides=self.strides,
            padding=self.padding,
            dtype=self.dtype,
            precision=self.precision,
            kernel_size=kernel_size,
        )
        convolve = continuous_lift_conv_with if self.lifting else continuous_group_conv_with
        elements = found if elements is None else elements
        return convolve(options, x, kernel, group=self.group, elements=elements)

    def _elements(self, samples: int, deterministic: bool) -> Elements:
        if deterministic:
            return all_elements(self.group, samples)
        return sample_elements(self.make_rng("samples"), self.group, samples)


class ContinuousLiftConv(_ContinuousConv):
    """The first layer of a continuous G-CNN: convolves an image with a filter turned by each of
    some elements of the group.

    The meaning of the arguments, and the names and shapes of the parameters, are those of
    `gconv_jax.nnx.ContinuousLiftConv`; random elements come from the stream ``samples``.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import SO2
    >>> from gconv_jax.linen import ContinuousLiftConv
    >>> layer = ContinuousLiftConv(16, 7, group=SO2(), samples=8)
    >>> image, keys = jnp.ones((2, 28, 28, 3)), {"params": jax.random.key(0)}
    >>> y, variables = layer.init_with_output(keys, image, deterministic=True)
    >>> y.values.shape
    (2, 28, 28, 8, 16)
    """

    lifting: ClassVar[bool] = True


class ContinuousGroupConv(_ContinuousConv):
    """A convolution from features on sampled elements of a group to features on others; see
    `gconv_jax.nnx.ContinuousGroupConv`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import SO2, SampledFeatures, all_elements
    >>> from gconv_jax.linen import ContinuousGroupConv
    >>> x = SampledFeatures(jnp.ones((2, 28, 28, 8, 3)), all_elements(SO2(), 8))
    >>> layer = ContinuousGroupConv(16, 7, group=SO2(), samples=8, deterministic=True)
    >>> layer.init_with_output(jax.random.key(0), x)[0].values.shape
    (2, 28, 28, 8, 16)
    """

    lifting: ClassVar[bool] = False


class PartialGroupConv(_ContinuousConv):
    """A group convolution that learns on which part of the group it gives its result; see
    `gconv_jax.nnx.PartialGroupConv`.

    ``theta`` and ``logits`` are parameters, of which `gconv_jax.learned_support` makes a
    `gconv_jax.Support`; the temperature is in the collection ``temperature``.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import O2, SampledFeatures, all_elements
    >>> from gconv_jax.linen import PartialGroupConv
    >>> x = SampledFeatures(jnp.ones((2, 28, 28, 8, 3)), all_elements(O2(), 8))
    >>> layer = PartialGroupConv(16, 7, group=O2(), samples=8, deterministic=True)
    >>> variables = layer.init(jax.random.key(0), x)
    >>> print(variables["params"]["theta"], variables["temperature"]["temperature"])
    1.0 0.5
    """

    lifting: ClassVar[bool] = False

    def _elements(self, samples: int, deterministic: bool) -> Elements:
        parameters = {
            name: self.param(name, initializer, shape, self.param_dtype)
            for name, (initializer, shape) in support_parameters(self.group).items()
        }
        temperature = 1.0
        if "logits" in parameters:
            temperature = self.variable(
                "temperature", "temperature", lambda: jnp.array(0.5, self.param_dtype)
            ).value
        if deterministic:
            return support_grid(parameters, group=self.group, samples=samples)
        return sample_support(
            self.make_rng("samples"),
            parameters,
            group=self.group,
            samples=samples,
            temperature=temperature,
        )
