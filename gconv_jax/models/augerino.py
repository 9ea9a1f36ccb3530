"""Augerino: learned augmentation with averaging, to compare partial equivariance with."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from gconv_jax.continuous.support import Support, bounded
from gconv_jax.lattice.rotate import rotate
from gconv_jax.models._network import Network


class Augerino(Network):
    """The mean of a network over copies of the image, turned within a learned range of angles.

    Benton et al. 2020 (arXiv:2010.11882) introduced it. The result is
    ``y(x) = mean_s f(R(theta pi t_s) x)``. In training t is uniform in [-1, 1] for each image and
    copy. In evaluation it takes the middle of equal parts of that interval. Copies are turned about
    the center with bilinear interpolation.

    Args:
        model: any module from images ``[N, H, W, C]`` to logits.
        copies: the number of copies of each image; 8 as in Romero & Lohit 2021 (arXiv:2110.10211).
        deterministic: True in evaluation, as in ``nnx.Dropout``; set by ``train()`` and ``eval()``.
        rngs: the random key ``samples``.

    Attributes:
        theta: the range, at first 0.5, which means quarter turns to both sides. At 0 its gradient
            would vanish, and at 1 all angles are alike.

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
        """Return the present range of angles."""
        return Support(bounded(self.theta[...]), None)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return logits ``[N, classes]`` of images ``[N, H, W, C]``."""
        return self._average(self.model, x)  # pyright: ignore[reportArgumentType]

    def features(self, x: jax.Array) -> jax.Array:
        """Return the features ``[N, F]`` of the model, averaged over the copies of each image."""
        return self._average(self.model.features, x)  # pyright: ignore[reportAttributeAccessIssue]

    def _average(self, run: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
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
        results = run(copies.reshape(-1, *x.shape[1:]))
        return results.reshape(self.copies, count, -1).mean(0)
