"""Partial equivariance: learned distributions on a group, from which a layer takes its elements.

A layer that is sampled on part of the group only tells apart what the whole group would not: a 6
from a 9. How large that part is, is learned (Romero & Lohit 2021, arXiv:2110.10211). Shapes
do not depend on it: the number of samples stays, they move closer together, and discrete elements
that are left out have weight 0.
"""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer, constant

from gconv_jax.continuous.kernel_networks import Parameters
from gconv_jax.continuous.sampled import Elements, all_elements, check_samples
from gconv_jax.groups.lie import SO2, LieGroup, PlanarGroup

SMALLEST_THETA = 1e-4
"""The lower bound of theta: rotations by up to 0.02 degrees, that is none."""
INITIAL_LOGIT = 2.0
"""The logit of the probability that a discrete element is kept at first: 0.88."""


class Support(NamedTuple):
    """The part of the group that a layer has learned to keep."""

    theta: jax.Array | None
    """Rotations are uniform in +-theta pi, 0 < theta <= 1; None if there is nothing to learn."""
    probabilities: jax.Array | None
    """The probabilities of all elements of a finite group but the identity, ``[|G| - 1]``, or that
    of the reflections of O(2), ``[1]``; None if there are none."""

    def __str__(self) -> str:
        parts = []
        if self.theta is not None:
            parts.append(f"rotations within ±{180 * float(self.theta):.3g}°")
        if self.probabilities is not None:
            chances = ", ".join(f"{float(p):.2f}" for p in self.probabilities)
            parts.append(f"probability {chances} of other elements")
        return ", ".join(parts) or "translations"


def support_parameters(group: PlanarGroup) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
    """An initializer and a shape for each parameter of a support, at first nearly all of the
    group: ``theta`` 1, and ``logits`` of probability 0.88.

    >>> from gconv_jax import O2
    >>> {name: shape for name, (_, shape) in support_parameters(O2()).items()}
    {'theta': (), 'logits': (1,)}
    """
    found: dict[str, tuple[Initializer, tuple[int, ...]]] = {}
    if isinstance(group, LieGroup):
        found["theta"] = constant(1.0), ()
    discrete = int(group.reflections) if isinstance(group, LieGroup) else group.order - 1
    if discrete:
        found["logits"] = constant(INITIAL_LOGIT), (discrete,)
    return found


def learned_support(parameters: Parameters) -> Support:
    """The support that parameters ``theta`` and ``logits`` stand for; either may be absent."""
    theta, logits = parameters.get("theta"), parameters.get("logits")
    return Support(
        None if theta is None else bounded(theta),
        None if logits is None else jax.nn.sigmoid(logits),
    )


@jax.custom_vjp
def bounded(raw: jax.Array) -> jax.Array:
    """``raw`` clipped to `SMALLEST_THETA` ... 1, with a gradient that can bring it back.

    Outside, a gradient whose descent leads further out is 0, and one that leads back is passed on;
    the plain clip has neither, and a parameter that once left it would stay.

    >>> import jax
    >>> print(bounded(1.5), jax.grad(bounded)(1.5), jax.grad(lambda raw: -bounded(raw))(1.5))
    1.0 1.0 0.0
    """
    return jnp.clip(raw, SMALLEST_THETA, 1.0)


def _bounded_forward(raw):
    return bounded(raw), raw


def _bounded_backward(raw, gradient):
    gradient = jnp.where(raw >= 1, jnp.maximum(gradient, 0), gradient)
    return (jnp.where(raw <= SMALLEST_THETA, jnp.minimum(gradient, 0), gradient),)


bounded.defvjp(_bounded_forward, _bounded_backward)


def sample_support(
    key: jax.Array,
    parameters: Parameters,
    *,
    group: PlanarGroup,
    samples: int | None = None,
    temperature: jax.typing.ArrayLike = 0.5,
) -> Elements:
    """Random elements of the learned support, for training.

    Rotations are ``exp(theta pi t_s)`` with ``t_s = (2 (s + r) + 1) / S - 1``: one in each of S
    equal parts of +-theta pi, moved together by a uniform r in [-1/2, 1/2], so that each sample
    has a gradient to theta. A discrete element is there with its probability p: its weight is 1
    or 0, with the gradient of ``sigmoid((logit + noise) / temperature)``, noise from the logistic
    distribution (Jang et al. 2016, arXiv:1611.01144; Maddison et al. 2016, arXiv:1611.00712).
    The identity is always there.

    Args:
        key: of the randomness.
        parameters: ``theta`` and ``logits``, as `support_parameters` lists them.
        group, samples: as in `all_elements`.
        temperature: of the gradient; lower is less biased and more noisy.

    >>> import jax
    >>> from gconv_jax import SO2
    >>> elements = sample_support(jax.random.key(0), {"theta": 0.25}, group=SO2(), samples=8)
    >>> bool(abs(SO2().log(elements.matrices)).max() <= jax.numpy.pi / 4)
    True
    """
    turn, choose = jax.random.split(key)
    logits, kept = parameters.get("logits"), None
    if logits is not None:
        noise = jax.random.logistic(choose, jnp.shape(logits), jnp.result_type(logits))
        soft = jax.nn.sigmoid((logits + noise) / temperature)
        kept = (soft > 0.5) + soft - jax.lax.stop_gradient(soft)
    shift = jax.random.uniform(turn, minval=-0.5, maxval=0.5)
    return _elements(parameters, kept, shift, group, samples)


def support_grid(
    parameters: Parameters, *, group: PlanarGroup, samples: int | None = None
) -> Elements:
    """Fixed elements of the learned support, for evaluation: rotations in the middle of the parts
    that `sample_support` draws from, and those discrete elements that are more likely there than
    not. With theta = 1 the rotations are evenly spaced: with a multiple of four of them, turning
    the image by 90 degrees permutes them.

    >>> from gconv_jax import SO2
    >>> import jax.numpy as jnp
    >>> elements = support_grid({"theta": jnp.array(0.5)}, group=SO2(), samples=2)
    >>> jnp.rad2deg(SO2().log(elements.matrices))
    Array([-45.,  45.], dtype=float32)
    """
    logits = parameters.get("logits")
    kept = None if logits is None else jnp.where(logits > 0, 1.0, 0.0)
    return _elements(parameters, kept, 0.0, group, samples)


def monotone_penalty(supports: Iterable[Support]) -> jax.Array:
    """``sum_l max(0, theta_{l+1} - theta_l)``, in order of depth: how far equivariance is regained
    with depth, which a network cannot make use of.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import Support
    >>> monotone_penalty([Support(jnp.array(t), None) for t in (1.0, 0.25, 0.75)])
    Array(0.5, dtype=float32)
    """
    thetas = [support.theta for support in supports if support.theta is not None]
    rises = [jnp.maximum(0, after - before) for before, after in itertools.pairwise(thetas)]
    return jnp.stack(rises).sum() if rises else jnp.zeros(())


def _elements(
    parameters: Parameters,
    kept: jax.Array | None,
    shift: jax.Array | float,
    group: PlanarGroup,
    samples: int | None,
) -> Elements:
    """``kept`` are the weights of the discrete elements."""
    count = check_samples(group, samples)
    if not isinstance(group, LieGroup):
        elements = all_elements(group)
        if kept is None:
            return elements
        identity = jnp.ones(1, kept.dtype)  # element 0
        return elements._replace(weights=jnp.concatenate([identity, kept]))
    rotations = count // 2 if group.reflections else count
    theta = bounded(jnp.asarray(parameters["theta"]))
    angle = jnp.pi * theta * ((2 * (jnp.arange(rotations) + shift) + 1) / rotations - 1)
    matrices = SO2().exp(angle.astype(theta.dtype))
    weights = jnp.ones(rotations, matrices.dtype)
    if group.reflections:
        mirrored = matrices * jnp.array([1.0, -1.0], matrices.dtype)
        matrices = jnp.concatenate([matrices, mirrored])
        weights = jnp.concatenate([weights, weights * kept])  # pyright: ignore[reportOperatorIssue]
    return Elements(matrices, weights)
