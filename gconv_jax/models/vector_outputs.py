"""Networks whose outputs are vectors, which turn with the image, and numbers beside them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gconv_jax.groups.fields import Fields
from gconv_jax.groups.finite import FiniteGroup, check_group
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
        model: a network without classes, ``classes=0``, or any module with ``feature_maps``. It is
            copied; the networks of `gconv_jax.models` without the layers behind these maps.
        in_features: the channels of its last feature maps.
        group: the group of its last feature maps; a trivial one if these have no axis of a group.
        targets: the number of outputs.
        vectors: the places of the components of each vector among the outputs, along x (to the
            right), y (down), and in volumes along x, y and z: along the width, the height and the
            depth. All other outputs are numbers. These are the components of ``Fields(vectors=1)``
            in the reverse order: with the numbers first, and then ``vectors=((1, 0),)`` or
            ``((2, 1, 0),)``, outputs are those of `gconv_jax.Fields`, as
            `gconv_jax.testing.assert_equivariant` takes them.
        rngs: the random key ``params``.

    Raises:
        ValueError: a vector that has not one component along each axis, or a place that two
            components have, or that is no output; a model without ``feature_maps``, or whose maps
            have other channels.

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
        check_group(group)
        if not callable(getattr(model, "feature_maps", None)):
            raise ValueError(f"`model` must have a method feature_maps: {type(model).__name__}")
        self.targets = check_integer("targets", targets, least=1)
        self.in_features = check_integer("in_features", in_features, least=1)
        self.vectors = _places_of_components(vectors, self.targets, group)
        self.model, self.group = nnx.clone(model), group
        for name in list(vars(model)) if isinstance(model, Network) else ():
            if name.startswith(_UNUSED):
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
        """Return the targets ``[N, targets]`` of images ``[N, *spatial, C]``, in float32 or
        wider."""
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
        if maps.shape[-1] != self.in_features:
            raise ValueError(
                f"`in_features` {self.in_features} must be the channels of the last feature maps "
                f"of {type(self.model).__name__}, which have {maps.shape[-1]}"
            )
        maps = maps.astype(jnp.promote_types(maps.dtype, jnp.float32))
        plain = maps.ndim == self.group.dimension + 2
        return maps[..., None, :] if plain else maps


def _places(sides: tuple[int, ...]) -> np.ndarray:
    """Return the place of each pixel from the center, ``[*sides, d]``, in halves of the sides."""
    lines = [(2 * np.arange(side) + 1 - side) / side for side in sides]
    return np.stack(np.meshgrid(*lines, indexing="ij"), -1)


def _places_of_components(
    vectors: Sequence[Sequence[int]], targets: int, group: FiniteGroup
) -> tuple[tuple[int, ...], ...]:
    """Return the places of the components of each vector; ValueError unless they are such."""
    if not len(vectors) or any(np.ndim(places) != 1 for places in vectors):
        raise ValueError(f"`vectors` must be one or more vectors, such as ((0, 1),), got {vectors}")
    found = tuple(tuple(check_integer("vectors", k, least=0) for k in v) for v in vectors)
    used = [place for places in found for place in places]
    for places in found:
        if len(places) != group.dimension:
            raise ValueError(
                f"`vectors` must have {group.dimension} components each, as the axes of {group!r}; "
                f"got {places}"
            )
        for place in places:
            if used.count(place) > 1:
                raise ValueError(f"`vectors` must name each output once, got {place} twice")
            if place >= targets:
                raise ValueError(
                    f"`vectors` must be places among {targets} targets, 0 to {targets - 1}: got "
                    f"{place}"
                )
    return found
