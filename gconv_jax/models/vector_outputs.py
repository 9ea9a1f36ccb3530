"""Networks whose outputs are vectors, which turn with the image, and numbers beside them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gconv_jax.groups.fields import Fields
from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.models._network import Network
from gconv_jax.ops.arguments import check_integer
from gconv_jax.pooling.fields import project_fields

_UNUSED = ("linear", "top_norm")
"""The beginnings of the names of layers behind the last feature maps of networks without classes,
which are not used here."""


class VectorOutputs(Network):
    """A network whose outputs are numbers and vectors of an image, ``[N, targets]``.

    The last feature maps f of a network have a value ``f(p, h)`` at each place p, counted from the
    center of the image, and for each element h of the group. With the matrix ``rho(h)`` that turns
    a vector by h, a vector is the mean over places and elements of

    ``rho(h) (A f(p, h) + b) + p (w . f(p, h))``.

    The first term is what a feature says in axes that are turned by h (`gconv_jax.project_fields`).
    The second one is the place of a feature, for vectors from the center of the image to
    something; it is measured in halves of the image. Numbers have the first term alone, with
    ``rho = 1``. If an element g turns the image, ``f(g^-1 p, g^-1 h)`` takes the place of
    ``f(p, h)``, and the sum is turned by ``rho(g)``. Rotations leave nothing of the mean of b,
    whereas a plain network has it as any linear layer.

    Args:
        model: a network without classes, ``classes=0``, with ``feature_maps``. It is copied without
            the layers behind these maps.
        in_features: the channels of its last feature maps.
        group: the group of its last feature maps; a trivial one if these have no axis of a group.
        targets: the number of outputs.
        vectors: the places of the components of each vector among the outputs, along x (to the
            right), y (down), and in volumes along x, y and z: along the width, the height and the
            depth. All other outputs are numbers.
        rngs: the random key ``params``.

    Raises:
        ValueError: a vector that has not one component along each axis, or a place that two
            components have, or none.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.models import P4CNN, VectorOutputs
    >>> network = P4CNN(width=4, classes=0, rngs=nnx.Rngs(0))
    >>> flow = VectorOutputs(
    ...     network, in_features=4, group=P4, targets=2, vectors=((0, 1),), rngs=nnx.Rngs(1)
    ... )
    >>> flow.eval()
    >>> x = jax.random.normal(jax.random.key(0), (1, 28, 28, 1))
    >>> right, down = flow(x)[0]
    >>> turned_right, turned_down = flow(jax.numpy.rot90(x, axes=(1, 2)))[0]  # from right to up
    >>> bool(abs(turned_right - down) < 1e-5), bool(abs(turned_down + right) < 1e-5)
    (True, True)
    """

    model: Any

    def __init__(
        self,
        model: Any,
        *,
        in_features: int,
        group: FiniteGroup,
        targets: int,
        vectors: Sequence[Sequence[int]],
        rngs: nnx.Rngs,
    ):
        self.targets = check_integer("targets", targets, least=1)
        self.vectors = tuple(tuple(map(int, places)) for places in vectors)
        _check_places(self.vectors, self.targets, group)
        self.model, self.group = nnx.clone(model), group
        for name in [name for name in vars(model) if name.startswith(_UNUSED)]:
            delattr(self.model, name)
        count, dimension = len(self.vectors), group.dimension
        used = {place for places in self.vectors for place in places}
        scalars = [k for k in range(targets) if k not in used]
        self.fields = Fields(scalars=len(scalars), vectors=count)
        self.project = nnx.Linear(in_features, self.fields.channels(group), rngs=rngs)
        self.moment = nnx.Linear(in_features, count, use_bias=False, rngs=rngs)
        order = np.zeros(targets, int)
        order[scalars] = np.arange(len(scalars))
        for v, places in enumerate(self.vectors):
            order[list(reversed(places))] = len(scalars) + dimension * v + np.arange(dimension)
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

    def feature_maps(self, x: jax.Array) -> Any:
        """Return the last feature maps of the network."""
        return self.model.feature_maps(x)

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


def _check_places(vectors: tuple[tuple[int, ...], ...], targets: int, group: FiniteGroup) -> None:
    """Raise ValueError unless each vector has its components among the targets."""
    for places in vectors:
        if len(places) != group.dimension:
            raise ValueError(
                f"`vectors` must have {group.dimension} components each, as the axes of {group!r}; "
                f"got {places}"
            )
    used = [place for places in vectors for place in places]
    for place in used:
        if not 0 <= place < targets or used.count(place) > 1:
            wrong = (
                "twice" if used.count(place) > 1 else f"of {targets} targets, 0 to {targets - 1}"
            )
            raise ValueError(f"`vectors` must be places of outputs, each once: got {place} {wrong}")
