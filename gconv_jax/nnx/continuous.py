"""Convolutions on continuous groups as Flax NNX modules: the parameters of a kernel network and of
a support, and a call of `gconv_jax.continuous.conv`."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.nn.initializers import Initializer, zeros
from jax.typing import DTypeLike

from gconv_jax.continuous.conv import (
    Kernel,
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
from gconv_jax.continuous.support import (
    Support,
    learned_support,
    sample_support,
    support_grid,
    support_parameters,
)
from gconv_jax.filters.initializers import compile_unoptimized
from gconv_jax.groups.lie import PlanarGroup
from gconv_jax.lattice.padding import PaddingLike, make_windows
from gconv_jax.ops.arguments import check_integer


class Temperature(nnx.Variable):
    """The temperature at which discrete elements are sampled; not a parameter. See
    `PartialGroupConv`."""


class _ContinuousConv(nnx.Module):
    """The parameters, and a call of `continuous_lift_conv` or `continuous_group_conv`."""

    lifting: bool

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        *,
        padding: PaddingLike = "SAME",
        use_bias: bool = True,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        precision: lax.PrecisionLike = None,
        kernel_network: KernelNetwork = Siren(),  # noqa: B008
        bias_init: Initializer = zeros,
        group: PlanarGroup,
        samples: int | None = None,
        deterministic: bool = False,
        rngs: nnx.Rngs,
    ):
        self.samples = check_samples(group, samples)
        check_kernel_network(kernel_network)
        self.in_features = check_integer("in_features", in_features, least=1)
        self.out_features = check_integer("out_features", out_features, least=1)
        self.kernel_size = (square_kernel(kernel_size),) * 2
        windows = make_windows(self.kernel_size, strides, padding)
        self.strides = windows.strides
        self.padding = windows.padding
        self.use_bias = use_bias
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.precision = precision
        self.kernel_network = kernel_network
        self.group = group
        self.deterministic = deterministic
        inputs = coordinate_count(group, self.kernel_size[0], lifting=self.lifting)
        found = kernel_network.parameters(inputs, self.in_features * self.out_features)
        self.kernel_names = tuple(found)
        for name, (initializer, shape) in found.items():
            setattr(
                self,
                name,
                nnx.Param(compile_unoptimized(initializer)(rngs.params(), shape, param_dtype)),
            )
        if use_bias:
            self.bias = nnx.Param(bias_init(rngs.params(), (self.out_features,), param_dtype))
        else:
            self.bias = nnx.data(None)
        self.rngs = rngs.samples.fork()

    def elements(self) -> Elements:
        """The elements that the result is computed at: random in training, and those of the even
        grid in evaluation."""
        if self.deterministic:
            return all_elements(self.group, self.samples)
        return sample_elements(self.rngs(), self.group, self.samples)

    def kernel(self) -> Kernel:
        """The filter as a function of its coordinates, with the parameters as they stand."""
        parameters = {name: getattr(self, name)[...] for name in self.kernel_names}
        return scaled_kernel(
            partial(self.kernel_network, parameters),
            in_features=self.in_features,
            out_features=self.out_features,
            kernel_size=self.kernel_size,
            samples=1 if self.lifting else self.samples,
        )

    def __call__(self, x, elements: Elements | None = None) -> SampledFeatures:
        """Features at ``elements``, by default those of `elements`."""
        options = continuous_options(
            type(self).__name__,
            self.group,
            bias=None if self.bias is None else self.bias[...],
            strides=self.strides,
            padding=self.padding,
            dtype=self.dtype,
            precision=self.precision,
            kernel_size=self.kernel_size,
        )
        convolve = continuous_lift_conv_with if self.lifting else continuous_group_conv_with
        elements = self.elements() if elements is None else elements
        return convolve(options, x, self.kernel(), group=self.group, elements=elements)


class ContinuousLiftConv(_ContinuousConv):
    """The first layer of a continuous G-CNN: convolves an image with a filter turned by each of
    some elements of the group. See `gconv_jax.continuous_lift_conv` for the equation.

    In training mode (``model.train()``) the elements are a grid turned by a random angle, anew at
    each call; in evaluation mode (``model.eval()``, or ``deterministic=True``) the grid itself.

    Args:
        in_features, out_features, strides, padding, use_bias: as in `LiftConv`.
        dtype, param_dtype, precision, bias_init: the same.
        kernel_size: of the square that filters are evaluated on; they are 0 outside its disc.
        kernel_network: whose values are the filters: `gconv_jax.Siren`, or
            `gconv_jax.MultiplicativeFilters`, or another `gconv_jax.KernelNetwork`.
        group: `gconv_jax.SO2()`, `gconv_jax.O2()`, or a finite group of the plane.
        samples: elements of a continuous group; of a finite one all are taken.
        deterministic: as in ``nnx.Dropout``; set by ``train()`` and ``eval()``.
        rngs: random keys: ``params``, and ``samples`` for training.

    Attributes:
        kernel_0, bias_0, ...: the parameters of the kernel network. Its outputs are scaled so that
            white inputs give outputs of variance 1 at initialization.
        bias: ``[out_features]`` or None.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import SO2
    >>> from gconv_jax.nnx import ContinuousLiftConv
    >>> layer = ContinuousLiftConv(3, 16, 7, group=SO2(), samples=8, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 28, 28, 3))).values.shape
    (2, 28, 28, 8, 16)
    """

    lifting = True


class ContinuousGroupConv(_ContinuousConv):
    """A convolution from features on sampled elements of a group to features on new ones. See
    `gconv_jax.continuous_group_conv` for the equation.

    Arguments and attributes are those of `ContinuousLiftConv`. ``kernel_size=1`` gives the
    pointwise group convolution, over elements and channels alone.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import SO2
    >>> from gconv_jax.nnx import ContinuousGroupConv, ContinuousLiftConv
    >>> options = {"group": SO2(), "samples": 8, "rngs": nnx.Rngs(0)}
    >>> x = ContinuousLiftConv(3, 16, 7, **options)(jnp.ones((2, 28, 28, 3)))
    >>> ContinuousGroupConv(16, 32, 7, **options)(x).values.shape
    (2, 28, 28, 8, 32)
    """

    lifting = False


class PartialGroupConv(_ContinuousConv):
    """A group convolution that learns on which part of the group it gives its result: how
    equivariant it is (Romero & Lohit 2021, arXiv:2110.10211). See `gconv_jax.sample_support`.

    Arguments and attributes are those of `ContinuousGroupConv`, and:

    Attributes:
        theta: of a continuous group: rotations are within +-theta pi. Starts at 1, all of them.
        logits: of the probabilities of discrete elements.
        temperature: of the gradient to them, a `Temperature`; 0.5 at first, for the training loop
            to lower (`set_temperature`).

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import O2
    >>> from gconv_jax.nnx import PartialGroupConv
    >>> print(PartialGroupConv(8, 8, 5, group=O2(), samples=8, rngs=nnx.Rngs(0)).support)
    rotations within ±180°, probability 0.88 of other elements
    """

    lifting = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        found = support_parameters(self.group)
        self.support_names = tuple(found)
        for name, (initializer, shape) in found.items():
            setattr(self, name, nnx.Param(initializer(jax.random.key(0), shape, self.param_dtype)))
        if "logits" in found:
            self.temperature = Temperature(jnp.array(0.5, self.param_dtype))

    @property
    def support(self) -> Support:
        """Return the part of the group that this layer keeps, as it stands."""
        return learned_support(self._support_parameters())

    def elements(self) -> Elements:
        """Random elements of the support in training, fixed ones in evaluation."""
        parameters, of = self._support_parameters(), {"group": self.group, "samples": self.samples}
        if self.deterministic:
            return support_grid(parameters, **of)
        temperature = self.temperature[...] if "logits" in parameters else 1.0
        return sample_support(self.rngs(), parameters, temperature=temperature, **of)

    def _support_parameters(self) -> dict[str, jax.Array]:
        return {name: getattr(self, name)[...] for name in self.support_names}


def supports(model: nnx.Module) -> dict[str, Support]:
    """The support of each `PartialGroupConv` of a model, by its path, in the order of the model's
    own attributes.

    >>> from flax import nnx
    >>> from gconv_jax import SO2
    >>> from gconv_jax.nnx import PartialGroupConv, supports
    >>> layer = PartialGroupConv(2, 2, 3, group=SO2(), samples=4, rngs=nnx.Rngs(0))
    >>> supports(nnx.Sequential(layer))
    {'layers.0': Support(theta=Array(1., dtype=float32), probabilities=None)}
    """
    return {".".join(map(str, path)): layer.support for path, layer in _partial_layers(model)}


def set_temperature(model: nnx.Module, temperature: jax.typing.ArrayLike) -> None:
    """Set the temperature of each `PartialGroupConv` of a model, e.g. to anneal it."""
    for _, layer in _partial_layers(model):
        if hasattr(layer, "temperature"):
            layer.temperature[...] = jnp.asarray(temperature, layer.temperature[...].dtype)


def _partial_layers(model: nnx.Module) -> list[tuple[tuple, PartialGroupConv]]:
    layers = [(path, m) for path, m in nnx.iter_graph(model) if isinstance(m, PartialGroupConv)]
    return sorted(layers, key=lambda found: found[0])
