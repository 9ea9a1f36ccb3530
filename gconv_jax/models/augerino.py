"""Learned augmentation, averaged over: what partial equivariance is compared with."""

import jax
import jax.numpy as jnp
from flax import nnx

from gconv_jax.continuous.support import Support, bounded
from gconv_jax.lattice.rotate import rotate


class Augerino(nnx.Module):
    """The mean of a network over turned copies of the image, by angles within a learned range
    (Benton et al. 2020, arXiv:2010.11882).

    ``y(x) = mean_s f(R(theta pi t_s) x)``, with t uniform in [-1, 1] for each image and copy in
    training, and in the middle of equal parts of it in evaluation. Copies are turned about the
    center with bilinear interpolation.

    Args:
        model: any module from images ``[N, H, W, C]`` to logits.
        copies: of each image; 8 as in Romero & Lohit 2021 (arXiv:2110.10211).
        deterministic: as in ``nnx.Dropout``; set by ``train()`` and ``eval()``.
        rngs: random key ``samples``.

    Attributes:
        theta: the range, at first 0.5: quarter turns to both sides. At 0 it would have no gradient
            to leave from, and at 1 all angles are alike.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax.models import Augerino, Z2CNN
    >>> model = Augerino(Z2CNN(rngs=nnx.Rngs(0)), copies=4, rngs=nnx.Rngs(1))
    >>> model(jnp.ones((2, 28, 28, 1))).shape  # logits
    (2, 10)
    """

    def __init__(
        self,
        model: nnx.Module,
        *,
        copies: int = 8,
        deterministic: bool = False,
        rngs: nnx.Rngs,
    ):
        if copies < 1:
            raise ValueError(f"`copies` must be at least 1, got {copies}")
        self.model = model
        self.copies = copies
        self.deterministic = deterministic
        self.theta = nnx.Param(jnp.array(0.5))
        self.rngs = rngs.samples.fork()

    @property
    def support(self) -> Support:
        """The range of angles, as it stands."""
        return Support(bounded(self.theta[...]), None)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Images ``[N, H, W, C]`` to logits ``[N, classes]``."""
        x = jnp.asarray(x)
        count = x.shape[0]
        if self.deterministic:
            places = (2 * jnp.arange(self.copies) + 1) / self.copies - 1
            places = jnp.broadcast_to(places[:, None], (self.copies, count))
        else:
            shape = (self.copies, count)
            places = jax.random.uniform(self.rngs(), shape, minval=-1.0, maxval=1.0)
        angles = jnp.pi * bounded(self.theta[...]) * places
        turn = jax.vmap(jax.vmap(rotate), (None, 0))  # over images, and over copies
        copies = turn(x, angles.astype(x.dtype))
        logits = self.model(copies.reshape(-1, *x.shape[1:]))
        return logits.reshape(self.copies, count, -1).mean(0)
