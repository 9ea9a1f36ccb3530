"""Dropout of whole fields and of whole branches, as Flax NNX modules."""

import jax
import jax.numpy as jnp
from flax import nnx

from gconv_jax.groups.irrep_features import SameFeatures
from gconv_jax.ops.dropout import check_rate, drop_examples, keep


class FieldDropout(nnx.Dropout):
    """Dropout of whole channels: a channel of an image is dropped at all pixels and all group
    elements or not at all, so that the law holds in training too. Arguments as ``nnx.Dropout``,
    without ``broadcast_dims``.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax.nnx import FieldDropout
    >>> y = FieldDropout(0.5, rngs=nnx.Rngs(0))(jnp.ones((2, 9, 9, 4, 5)))
    >>> sorted(set((y.sum((1, 2, 3)) / (9 * 9 * 4)).ravel().tolist()))
    [0.0, 2.0]
    """

    def __init__(self, rate: float, *, rngs: nnx.Rngs | None = None, **options):
        super().__init__(rate, rngs=rngs, **options)

    def __call__(self, x: jax.Array, **options) -> jax.Array:
        """``[N, *spatial, (|G|,) C]`` to the same shape."""
        x = jnp.asarray(x)
        kept = jnp.ones((x.shape[0], *[1] * (x.ndim - 2), x.shape[-1]), x.dtype)
        factors = super().__call__(kept, **options)
        return x if factors is kept else keep(x, factors)  # the same in evaluation


class DropPath(nnx.Dropout):
    """Stochastic depth (Huang et al. 2016, arXiv:1603.09382): the residual branch of an example is
    dropped as a whole, or kept and scaled by ``1 / (1 - rate)``. Arguments as ``nnx.Dropout``,
    without ``broadcast_dims``.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax.nnx import DropPath
    >>> y = DropPath(0.5, rngs=nnx.Rngs(0))(jnp.ones((4, 9, 9, 4, 5)))
    >>> sorted(set(y.reshape(4, -1).mean(1).tolist()))
    [0.0, 2.0]
    """

    def __init__(self, rate: float, *, rngs: nnx.Rngs | None = None, **options):
        super().__init__(check_rate("rate", rate), rngs=rngs, **options)

    def __call__(self, x: SameFeatures, **options) -> SameFeatures:
        """``[N, ...]``, or `IrrepFeatures`, to the same."""
        return drop_examples(x, lambda kept: super(DropPath, self).__call__(kept, **options))
