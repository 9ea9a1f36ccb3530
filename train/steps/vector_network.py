"""Networks that end in vectors, which turn with the image, and in numbers beside them."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gconv_jax import Fields, FiniteGroup, project_fields
from gconv_jax.models._network import Network

from ..data.vectors import Vectors

_ENDS = ("linear", "top_norm")
"""The beginnings of the names of layers behind the last feature maps of networks without classes,
which are not used here."""


class VectorNetwork(nnx.Module):
    """A network whose outputs are numbers and vectors of an image, ``[N, targets]``.

    The last feature maps f have a value ``f(p, h)`` at each place p, counted from the center of the
    image, and for each element h of the group. With the matrix ``rho(h)`` that turns a vector by h,
    a vector is the mean over places and elements of

    ``rho(h) (A f(p, h) + b) + p (w . f(p, h))``.

    The first term is what a feature says in axes that are turned by h (`gconv_jax.project_fields`).
    The second one is the place of a feature, for vectors from the center of the image to
    something; it is measured in halves of the image. Numbers have the first term alone, with
    ``rho = 1``. If an element g turns the image, ``f(g^-1 p, g^-1 h)`` takes the place of
    ``f(p, h)``, and the sum is turned by ``rho(g)``. Rotations leave nothing of the mean of b,
    whereas a plain network has it as any linear layer.

    Args:
        model: a network without classes.
        group: the group of its last feature maps.
        vectors: which targets are components.
        image_shape: the shape of an image ``(*spatial, C)``.
        rngs: the random key ``params``.
    """

    def __init__(
        self,
        model: Network,
        *,
        group: FiniteGroup,
        vectors: Vectors,
        image_shape: tuple[int, ...],
        rngs: nnx.Rngs,
    ):
        for name in [name for name in vars(model) if name.startswith(_ENDS)]:
            delattr(model, name)
        self.model, self.group = model, group
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a call says the same
            image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
            channels = nnx.eval_shape(lambda m, x: m.feature_maps(x), model, image).shape[-1]
        count, dimension = len(vectors.places), group.dimension
        self.fields = Fields(scalars=len(vectors.scalars), vectors=count)
        self.project = nnx.Linear(channels, self.fields.channels(group), rngs=rngs)
        self.moment = nnx.Linear(channels, count, use_bias=False, rngs=rngs)
        order = np.zeros(vectors.targets, int)
        order[list(vectors.scalars)] = np.arange(len(vectors.scalars))
        for v, places in enumerate(vectors.places):
            order[list(reversed(places))] = (
                len(vectors.scalars) + dimension * v + np.arange(dimension)
            )
        self.order = tuple(order.tolist())

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the targets ``[N, targets]`` of images ``[N, *spatial, C]``, float32."""
        maps = self._maps(x)
        space = tuple(range(1, 1 + self.group.dimension))
        y = self.project(maps.mean(space))
        y = project_fields(y, group=self.group, fields=self.fields)
        place = _places(maps.shape[1:-2])[..., None].astype(maps.dtype)
        moments = (maps.mean(-2)[..., None, :] * place).mean(space)  # [N, d, C]
        moments = jnp.swapaxes(self.moment(moments), -1, -2).reshape(y.shape[0], -1)
        numbers, vectors = jnp.split(y, [self.fields.scalars], -1)
        y = jnp.concatenate([numbers, vectors + moments], -1)
        return y[:, np.array(self.order)]

    def features(self, x: jax.Array) -> jax.Array:
        """Return the mean of the last feature maps over places and the group, ``[N, C]``."""
        maps = self._maps(x)
        return maps.mean(tuple(range(1, maps.ndim - 1)))

    def _maps(self, x: jax.Array) -> jax.Array:
        """Return the last feature maps ``[N, *spatial, |G|, C]``, in float32 or wider."""
        maps = self.model.feature_maps(x)
        maps = maps.astype(jnp.promote_types(maps.dtype, jnp.float32))
        plain = maps.ndim == self.group.dimension + 2
        return maps[..., None, :] if plain else maps


def _places(sides: tuple[int, ...]) -> np.ndarray:
    """Return the place of each pixel from the center, ``[*sides, d]``, in halves of the sides."""
    lines = [(2 * np.arange(side) + 1 - side) / side for side in sides]
    return np.stack(np.meshgrid(*lines, indexing="ij"), -1)
