"""Linear maps of features on the group, as a Flax NNX module."""

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.nn.initializers import Initializer, zeros
from jax.typing import DTypeLike

from gconv_jax.conv.algorithm import Algorithm, check_algorithm
from gconv_jax.conv.linear import KernelBasis, check_kernel_basis, group_linear
from gconv_jax.filters.initializers import base_filter_init
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.groups.irrep_features import SameFeatures
from gconv_jax.nnx.parameters import make_kernel, make_parameter, value_of
from gconv_jax.ops.arguments import check_integer


class GroupLinear(nnx.Module):
    """The layer that replaces ``nnx.Linear`` where features are on the group: tokens of a
    transformer, pointwise layers, heads. See `gconv_jax.group_linear` for the equation and the law.

    A ``nnx.Linear`` on the channels treats each orientation by itself; this layer mixes them.

    Args:
        in_features, out_features: channels for each group element.
        use_bias: add a bias for each output channel, shared by the group elements.
        dtype: of computation; by default what input and parameters promote to.
        param_dtype: of the parameters.
        precision: as in ``jax.lax``.
        kernel_init, bias_init: initializers, with a fan-in of ``|G| * in_features``.
        group: any finite group.
        algorithm: as in `gconv_jax.group_conv`.
        kernel_basis: the basis that the kernel is kept in, as in `gconv_jax.group_linear`. The maps
            and their initial distribution are the same for normal weights.
        rngs: random key.

    Attributes:
        kernel: ``[|G|, in_features, out_features]``.
        bias: ``[out_features]`` or None.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4M
    >>> from gconv_jax.nnx import GroupLinear
    >>> GroupLinear(16, 32, group=P4M, rngs=nnx.Rngs(0))(jnp.ones((2, 196, 8, 16))).shape
    (2, 196, 8, 32)
    """

    kernel: nnx.Param

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        use_bias: bool = True,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        precision: lax.PrecisionLike = None,
        kernel_init: Initializer = base_filter_init,
        bias_init: Initializer = zeros,
        group: FiniteGroup,
        algorithm: Algorithm = "auto",
        kernel_basis: KernelBasis = "regular",
        rngs: nnx.Rngs,
    ):
        self.group = check_group(group)
        check_algorithm(algorithm)
        check_kernel_basis(kernel_basis)
        self.in_features = check_integer("in_features", in_features, least=1)
        self.out_features = check_integer("out_features", out_features, least=1)
        self.use_bias, self.dtype, self.param_dtype = use_bias, dtype, param_dtype
        self.precision = precision
        self.algorithm: Algorithm = algorithm
        self.kernel_basis: KernelBasis = kernel_basis
        shape = group.order, self.in_features, self.out_features
        self.kernel = make_kernel(kernel_init, shape, param_dtype, rngs)
        self.bias = make_parameter(use_bias, bias_init, shape[-1:], param_dtype, rngs)

    def __call__(self, x: SameFeatures) -> SameFeatures:
        """``[..., |G|, in_features]`` to ``[..., |G|, out_features]``, or the same of
        `IrrepFeatures`."""
        return group_linear(
            x,
            self.kernel[...],
            group=self.group,
            bias=value_of(self.bias),
            dtype=self.dtype,
            precision=self.precision,
            algorithm=self.algorithm,
            kernel_basis=self.kernel_basis,
        )
