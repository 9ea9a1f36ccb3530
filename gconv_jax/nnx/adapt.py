"""Networks that are made equivariant as a whole, as Flax NNX modules."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from gconv_jax.adapt.canonicalize import Choice, canonicalize, score_poses
from gconv_jax.adapt.symmetrize import Reduce, symmetrize
from gconv_jax.groups.fields import Fields
from gconv_jax.groups.finite import FiniteGroup, check_group

Action = str | Fields | Callable[..., Any] | None


class Symmetrized(nnx.Module):
    """A network that is averaged over the poses of its input: `gconv_jax.symmetrize` as a module.

    Args:
        model: any NNX module of a batch of images; its parameters are those of this module.
        group, input_action, output_action, reduce, sequential, fill: as in
            `gconv_jax.symmetrize`.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax import P4M
    >>> from gconv_jax.nnx import Symmetrized
    >>> from gconv_jax.testing import assert_equivariant
    >>> plain = nnx.Conv(1, 3, (3, 3), rngs=nnx.Rngs(0))
    >>> x = jax.random.normal(jax.random.key(0), (2, 6, 6, 1))
    >>> assert_equivariant(Symmetrized(plain, group=P4M), x, group=P4M)
    """

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        group: FiniteGroup,
        input_action: Action = None,
        output_action: Action = None,
        reduce: Reduce = "mean",
        sequential: bool = False,
        fill: float = 0.0,
    ):
        symmetrize(model, group=group, reduce=reduce)  # checks
        self.model = model
        self.group, self.sequential, self.fill = group, sequential, fill
        self.reduce: Reduce = reduce
        self.input_action, self.output_action = input_action, output_action

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The arguments of the network to its results, which obey the law."""
        return self._even(self.model, self.output_action)(x, *args, **kwargs)

    def features(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the features ``[N, C]`` of the network for its arguments, made invariant. The
        network has a method ``features``, as those of `gconv_jax.models`."""
        return self._even(self.model.features, "invariant")(x, *args, **kwargs)  # pyright: ignore[reportFunctionMemberAccess]

    def _even(self, run: Callable[..., Any], output_action: Action) -> Callable[..., Any]:
        return symmetrize(
            run,
            group=self.group,
            input_action=self.input_action,
            output_action=output_action,
            reduce=self.reduce,
            sequential=self.sequential,
            fill=self.fill,
        )


class Canonicalized(nnx.Module):
    """A network that sees each image in a pose which another network chooses:
    `gconv_jax.canonicalize` as a module.

    Its parameters are those of both. ``model.eval()`` changes the choice to ``argmax``, which needs
    one move of the image in place of |G|.

    Args:
        model: any NNX module of a batch of images.
        by: an NNX module of the batch to scores ``[N, |G|]`` that turn with the image, or a
            function of it, as in `gconv_jax.canonicalize`.
        group, input_action, output_action, choice, temperature, fill: as in
            `gconv_jax.canonicalize`.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.nnx import Canonicalized, LiftConv
    >>> from gconv_jax.testing import assert_equivariant
    >>> class Scores(nnx.Module):
    ...     def __init__(self, rngs):
    ...         self.conv = LiftConv(1, 1, 3, group=P4, rngs=rngs)
    ...     def __call__(self, x):
    ...         return nnx.relu(self.conv(x)).mean((1, 2))[..., 0]
    >>> rngs = nnx.Rngs(0)
    >>> plain = nnx.Conv(1, 3, (3, 3), rngs=rngs)
    >>> x = jax.random.normal(jax.random.key(0), (2, 6, 6, 1))
    >>> assert_equivariant(Canonicalized(plain, Scores(rngs), group=P4), x, group=P4)
    """

    def __init__(
        self,
        model: Callable[..., Any],
        by: Callable[..., jax.Array],
        *,
        group: FiniteGroup,
        input_action: Action = None,
        output_action: Action = None,
        choice: Choice = "straight-through",
        temperature: float = 1.0,
        fill: float = 0.0,
    ):
        check_group(group)
        canonicalize(model, group=group, by=by, choice=choice)  # checks
        self.model, self.by = model, by
        self.group, self.temperature, self.fill = group, temperature, fill
        self.choice: Choice = choice
        self.input_action, self.output_action = input_action, output_action
        self.deterministic = False

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The arguments of the network to its results, which obey the law."""
        return self._even(self.model, self.output_action)(x, *args, **kwargs)

    def features(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the features ``[N, C]`` of the network for its arguments, made invariant. The
        network has a method ``features``, as those of `gconv_jax.models`."""
        return self._even(self.model.features, "invariant")(x, *args, **kwargs)  # pyright: ignore[reportFunctionMemberAccess]

    def _even(self, run: Callable[..., Any], output_action: Action) -> Callable[..., Any]:
        hard = self.choice == "straight-through" and self.deterministic
        return canonicalize(
            run,
            group=self.group,
            by=self.by,
            input_action=self.input_action,
            output_action=output_action,
            choice="argmax" if hard else self.choice,
            temperature=self.temperature,
            fill=self.fill,
        )


class ScorePoses(nnx.Module):
    """A network that scores images, as scores of all poses that turn with the image:
    `gconv_jax.score_poses` as a module, for `Canonicalized`.

    Args:
        score: any NNX module of a batch of images to numbers ``[N]`` or ``[N, 1]``.
        group, input_action, sequential, fill: as in `gconv_jax.score_poses`.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.nnx import ScorePoses
    >>> score = nnx.Sequential(lambda x: x.reshape(len(x), -1), nnx.Linear(36, 1, rngs=nnx.Rngs(0)))
    >>> ScorePoses(score, group=P4)(jax.numpy.ones((2, 6, 6, 1))).shape
    (2, 4)
    """

    def __init__(
        self,
        score: Callable[..., Any],
        *,
        group: FiniteGroup,
        input_action: Action = None,
        sequential: bool = False,
        fill: float = 0.0,
    ):
        score_poses(score, group=group)  # checks
        self.score, self.group = score, group
        self.input_action, self.sequential, self.fill = input_action, sequential, fill

    def __call__(self, x: Any) -> jax.Array:
        """A batch of images to ``[N, |G|]``."""
        by = score_poses(
            self.score,
            group=self.group,
            input_action=self.input_action,
            sequential=self.sequential,
            fill=self.fill,
        )
        return by(x)
