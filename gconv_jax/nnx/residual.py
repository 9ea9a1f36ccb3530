"""Group convolutions with a residual pathway as Flax NNX modules."""

import jax
import jax.numpy as jnp
from flax import nnx

from gconv_jax.adapt.residual import free_kernel_shape, residual_conv_with
from gconv_jax.conv.options import ConvOptions
from gconv_jax.nnx.conv import ConvLayer


class _ResidualConv(ConvLayer):
    kernel: nnx.Param
    free_kernel: nnx.Param

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        shape = free_kernel_shape(
            self.group,
            self.kernel_size,
            self.in_features,
            self.out_features,
            lifting=self.lifting,
        )
        self.free_kernel = nnx.Param(jnp.zeros(shape, self.param_dtype))

    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        free = self.free_kernel[...]
        return residual_conv_with(options, x, kernels[0], free, lifting=self.lifting)


class ResidualLiftConv(_ResidualConv):
    """A `LiftConv` and an ordinary convolution of the image, added: a first layer that prefers to
    be equivariant (Finzi, Benton & Wilson 2021, arXiv:2112.01388).

    The ordinary convolution has a kernel of its own for each pose, which starts at zero. So the law
    holds at the start, and no longer once training moves that kernel. `gconv_jax.residual_penalty`
    keeps it small. Check the law of a new layer with ``assert_equivariant(..., perturb=False)``.
    The sum of both filters is convolved once, so the layer takes the time of a `LiftConv`.

    Args:
        in_features, out_features, kernel_size, strides, padding: as in `LiftConv`, for both.
        kernel_dilation, use_bias, dtype, param_dtype, precision: the same; there is one bias.
        kernel_init, bias_init, filters, kernel_transform, kernel_metadata, bias_metadata: the same,
            of the equivariant convolution; the free one has pixels always.
        group, fields, rngs: the same.
        algorithm: without effect, the convolution is always dense.

    Attributes:
        kernel: ``[*kernel_size, in_features, out_features]``, the base filters; ``[P, in_features,
            out_features]`` for ``filters`` other than pixels.
        free_kernel: ``[*kernel_size, in_features, |G| out_features]``, the group axis slow.
        bias: ``[out_features]`` or None.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.nnx import ResidualLiftConv
    >>> layer = ResidualLiftConv(3, 16, 3, group=P4, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 33, 33, 3))).shape, layer.free_kernel.shape
    ((2, 33, 33, 4, 16), (3, 3, 3, 64))
    """

    lifting = True


class ResidualGroupConv(_ResidualConv):
    """A `GroupConv` and an ordinary convolution of the ``|G| C`` merged channels, added: a layer
    that prefers to be equivariant (Finzi, Benton & Wilson 2021, arXiv:2112.01388).

    Arguments and attributes are those of `ResidualLiftConv`; ``kernel`` is ``[*kernel_size, |G|,
    in_features, out_features]`` and ``free_kernel`` is ``[*kernel_size, |G| in_features, |G|
    out_features]``, which has |G| times as many parameters.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.nnx import ResidualGroupConv
    >>> from gconv_jax.testing import assert_equivariant
    >>> layer = ResidualGroupConv(3, 5, 3, group=P4, rngs=nnx.Rngs(0))
    >>> layer.kernel.shape, layer.free_kernel.shape
    ((3, 3, 4, 3, 5), (3, 3, 12, 20))
    >>> x = jnp.arange(9 * 9 * 4 * 3.0).reshape(1, 9, 9, 4, 3)
    >>> assert_equivariant(layer, x, group=P4, perturb=False)
    """
