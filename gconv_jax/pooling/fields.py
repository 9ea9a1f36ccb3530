"""Numbers and vectors of feature maps on the group: the last layer of a network."""

import jax
import jax.numpy as jnp

from gconv_jax.groups.fields import Fields, check_fields, multiply
from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.pooling.group_axis import check_group_axis


def project_fields(x: jax.Array, *, group: FiniteGroup, fields: Fields) -> jax.Array:
    """Return the numbers and vectors that a feature map on the group says: an image.

    The orientation h of the feature map holds what it says in axes that are turned by h, so it is
    turned and the mean is taken: ``v(p) = 1 / |G| sum_h rho(h) x(p, h)``. The result turns with the
    input, ``project_fields(L_g x) == L_g project_fields(x)``, with the action of
    ``transform(..., fields=)`` on it. After a `group_conv` this is any linear equivariant map from
    features to such fields. For scalars it is the mean over the group; the mean over space of the
    result is one vector for each image, such as a force.

    Args:
        x: a feature map ``[..., |G|, C]`` whose channels C are those of ``fields``.
        group: G.
        fields: what the result is, e.g. ``Fields(vectors=1)``.

    Returns:
        ``[..., C]``, the components of each vector beside each other (`Fields`).

    Raises:
        ValueError: the axes of ``x`` do not fit, or the lattice is hexagonal.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, Fields, project_fields
    >>> project_fields(jnp.ones((1, 9, 9, 4, 3)), group=P4, fields=Fields(1, vectors=1)).shape
    (1, 9, 9, 3)
    """
    x = jnp.asarray(x)
    check_group_axis(x, group)
    rho = check_fields(fields, group, x.shape[-1]).matrices(group)
    return multiply("hji,...hi->...j", rho / group.order, x)
