"""Networks that are made equivariant as a whole, as Flax Linen modules."""

from typing import Any

import jax
from flax import linen
from flax.core import unfreeze

from gconv_jax.adapt.canonicalize import Choice, canonicalize, score_poses
from gconv_jax.adapt.symmetrize import Reduce, symmetrize
from gconv_jax.groups.finite import FiniteGroup


class Symmetrized(linen.Module):
    """A network that is averaged over the poses of its input: `gconv_jax.symmetrize` as a module.

    Args:
        model: any Linen module of a batch of images.
        group, input_action, output_action, reduce, fill: as in `gconv_jax.symmetrize`.

    >>> import jax
    >>> from flax import linen
    >>> from gconv_jax import P4M
    >>> from gconv_jax.linen import Symmetrized
    >>> from gconv_jax.testing import assert_equivariant
    >>> module = Symmetrized(linen.Conv(3, (3, 3)), group=P4M)
    >>> x = jax.random.normal(jax.random.key(0), (2, 6, 6, 1))
    >>> assert_equivariant(module.bind(module.init(jax.random.key(1), x)), x, group=P4M)
    """

    model: linen.Module
    group: FiniteGroup
    input_action: Any = None
    output_action: Any = None
    reduce: Reduce = "mean"
    fill: float = 0.0

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The arguments of the network to its results, which obey the law."""
        even = symmetrize(
            self.model,  # pyright: ignore[reportArgumentType]
            group=self.group,
            input_action=unfreeze(self.input_action),
            output_action=unfreeze(self.output_action),
            reduce=self.reduce,
            fill=self.fill,
        )
        return even(x, *args, **kwargs)


class Canonicalized(linen.Module):
    """A network that sees each image in a pose which another network chooses:
    `gconv_jax.canonicalize` as a module.

    Args:
        model: any Linen module of a batch of images.
        by: a Linen module of the batch to scores ``[N, |G|]`` that turn with the image.
        group, input_action, output_action, choice, temperature, fill: as in
            `gconv_jax.canonicalize`.

    >>> import jax
    >>> from flax import linen
    >>> from gconv_jax import P4
    >>> from gconv_jax.linen import Canonicalized, LiftConv
    >>> from gconv_jax.testing import assert_equivariant
    >>> class Scores(linen.Module):
    ...     @linen.compact
    ...     def __call__(self, x):
    ...         return linen.relu(LiftConv(1, 3, group=P4)(x)).mean((1, 2))[..., 0]
    >>> module = Canonicalized(linen.Conv(3, (3, 3)), Scores(), group=P4)
    >>> x = jax.random.normal(jax.random.key(0), (2, 6, 6, 1))
    >>> assert_equivariant(module.bind(module.init(jax.random.key(1), x)), x, group=P4)
    """

    model: linen.Module
    by: linen.Module
    group: FiniteGroup
    input_action: Any = None
    output_action: Any = None
    choice: Choice = "straight-through"
    temperature: float = 1.0
    fill: float = 0.0

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The arguments of the network to its results, which obey the law."""
        even = canonicalize(
            self.model,  # pyright: ignore[reportArgumentType]
            group=self.group,
            by=self.by,  # pyright: ignore[reportArgumentType]
            input_action=unfreeze(self.input_action),
            output_action=unfreeze(self.output_action),
            choice=self.choice,
            temperature=self.temperature,
            fill=self.fill,
        )
        return even(x, *args, **kwargs)


class ScorePoses(linen.Module):
    """A network that scores images, as scores of all poses that turn with the image:
    `gconv_jax.score_poses` as a module, for `Canonicalized`.

    Args:
        score: any Linen module of a batch of images to numbers ``[N]`` or ``[N, 1]``.
        group, input_action, fill: as in `gconv_jax.score_poses`.

    >>> import jax
    >>> from flax import linen
    >>> from gconv_jax import P4
    >>> from gconv_jax.linen import ScorePoses
    >>> module = ScorePoses(linen.Sequential([lambda x: x.mean((1, 2)), linen.Dense(1)]), group=P4)
    >>> x = jax.numpy.ones((2, 6, 6, 1))
    >>> module.apply(module.init(jax.random.key(0), x), x).shape
    (2, 4)
    """

    score: linen.Module
    group: FiniteGroup
    input_action: Any = None
    fill: float = 0.0

    def __call__(self, x: Any) -> jax.Array:
        """A batch of images to ``[N, |G|]``."""
        by = score_poses(
            self.score,  # pyright: ignore[reportArgumentType]
            group=self.group,
            input_action=unfreeze(self.input_action),
            fill=self.fill,
        )
        return by(x)
