"""The network that chooses poses, for `gconv_jax.nnx.Canonicalized`."""

import jax
from flax import nnx
from jax.typing import DTypeLike

from gconv_jax.models._network import Network


class PoseNetwork(Network):
    """A small plain network that says how upright an image looks, ``[N, 1]``: three convolutions
    with ReLU, the first two strided, and a linear layer of their mean over space.

    With `gconv_jax.nnx.ScorePoses` it gives the scores of all poses, from which
    `gconv_jax.nnx.Canonicalized` chooses one (Kaba et al. 2022, arXiv 2211.06489).

    Args:
        in_features: the channels of an image.
        dtype: that of the computation.
        rngs: the random key ``params``.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax.models import PoseNetwork
    >>> PoseNetwork(1, rngs=nnx.Rngs(0))(jnp.ones((2, 28, 28, 1))).shape
    (2, 1)
    """

    def __init__(self, in_features: int = 1, *, dtype: DTypeLike | None = None, rngs: nnx.Rngs):
        self.classes = 1
        options = {"dtype": dtype, "rngs": rngs}
        self.layer0 = nnx.Conv(in_features, 16, (3, 3), strides=(2, 2), **options)
        self.layer1 = nnx.Conv(16, 32, (3, 3), strides=(2, 2), **options)
        self.layer2 = nnx.Conv(32, 32, (3, 3), **options)
        self.top = nnx.Linear(32, 1, rngs=rngs)

    def feature_maps(self, x: jax.Array) -> jax.Array:
        """Return the feature maps of the last convolution, ``[N, H, W, 32]``."""
        for layer in (self.layer0, self.layer1, self.layer2):
            x = nnx.relu(layer(x))
        return x

    def _outputs(self, maps: jax.Array) -> jax.Array:
        return self.top(self._pool(maps))
