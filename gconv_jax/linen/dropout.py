"""Dropout of whole fields and of whole branches, as Flax Linen modules."""

import jax
from flax import linen as nn

from gconv_jax.groups.irrep_features import SameFeatures
from gconv_jax.ops.dropout import check_rate, drop_examples


class FieldDropout(nn.Module):
    """As `gconv_jax.nnx.FieldDropout`; the random stream is ``dropout``, as of ``nn.Dropout``.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax.linen import FieldDropout
    >>> layer = FieldDropout(0.5, deterministic=False)
    >>> layer.apply({}, jnp.ones((2, 9, 9, 4, 5)), rngs={"dropout": jax.random.key(0)}).shape
    (2, 9, 9, 4, 5)
    """

    rate: float
    deterministic: bool | None = None

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool | None = None) -> jax.Array:
        """``[N, *spatial, (|G|,) C]`` to the same shape."""
        space = tuple(range(1, x.ndim - 1))
        deterministic = nn.merge_param("deterministic", self.deterministic, deterministic)
        return nn.Dropout(self.rate, broadcast_dims=space)(x, deterministic=deterministic)


class DropPath(nn.Module):
    """As `gconv_jax.nnx.DropPath`; the random stream is ``dropout``, as of ``nn.Dropout``.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax.linen import DropPath
    >>> layer = DropPath(0.5, deterministic=False)
    >>> layer.apply({}, jnp.ones((2, 9, 9, 4, 5)), rngs={"dropout": jax.random.key(0)}).shape
    (2, 9, 9, 4, 5)
    """

    rate: float
    deterministic: bool | None = None

    @nn.compact
    def __call__(self, x: SameFeatures, deterministic: bool | None = None) -> SameFeatures:
        """``[N, ...]``, or `IrrepFeatures`, to the same."""
        deterministic = nn.merge_param("deterministic", self.deterministic, deterministic)
        dropout = nn.Dropout(check_rate("rate", self.rate))
        return drop_examples(x, lambda kept: dropout(kept, deterministic=deterministic))
