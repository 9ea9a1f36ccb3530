"""Staggered grids: vectors whose components live on the faces between pixels or voxels.

Solvers of flows keep each component of a velocity in the middle of the faces that it crosses
(Harlow & Welch 1965, marker and cell). On an image twice as fine, every face and every center of a
pixel has a place of its own, and the group acts as on any other image of vectors. So a staggered
grid goes into a network and comes out of it exactly:

    pixels of the fine image, for 2 x 2 cells        o: a center    .: a corner
        . v . v .                                    v: the component along the first axis
        u o u o u                                    u: the component along the second axis
        . v . v .
        u o u o u
        . v . v .
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax


def faces_to_image(faces: Sequence[jax.Array]) -> jax.Array:
    """Return the image of vectors that holds a staggered grid, with zeros where nothing is.

    Component i of the cells ``n`` is at ``n_i + 1`` faces along axis i. In the image cell p has its
    center at ``2 p + 1``, and its faces along axis i at ``2 p_i`` and ``2 p_i + 2``. So a
    convolution over ``Fields(vectors=C)`` with a kernel of 3, strides of 2 and ``VALID`` padding
    sees the faces of one cell for each output, and has as many outputs as there are cells.

    Args:
        faces: an array for each axis, ``[N, n_0, ..., n_i + 1, ..., C]``.

    Returns:
        ``[N, 2 n_0 + 1, 2 n_1 + 1, ..., d C]``: vectors, the components of each beside each other,
        on which ``transform(..., fields=Fields(vectors=C))`` acts.

    Raises:
        ValueError: the shapes are not those of one grid.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import faces_to_image
    >>> v, u = jnp.ones((1, 3, 2, 1)), jnp.full((1, 2, 3, 1), 2.0)  # two by two cells
    >>> faces_to_image([v, u]).sum(-1)[0].astype(int).tolist()
    [[0, 1, 0, 1, 0], [2, 0, 2, 0, 2], [0, 1, 0, 1, 0], [2, 0, 2, 0, 2], [0, 1, 0, 1, 0]]
    """
    faces = [jnp.asarray(a) for a in faces]
    d = len(faces)
    if d not in (1, 2, 3):
        raise ValueError(f"`faces` must be 1, 2 or 3 arrays, one for each axis, got {d}")
    cells = list(faces[0].shape[1:-1])
    if faces[0].ndim == d + 2:
        cells[0] -= 1
    for i, a in enumerate(faces):
        sides = (n + (i == j) for j, n in enumerate(cells))
        shape = (faces[0].shape[0], *sides, faces[0].shape[-1]) if faces[0].ndim else ()
        if a.ndim != d + 2 or a.shape != shape or min(cells) < 1:
            axes = ", ".join(f"n_{j} + 1" if i == j else f"n_{j}" for j in range(d))
            raise ValueError(
                f"`faces[{i}]` must be [N, {axes}, C] for the cells of `faces[0]`, got shapes "
                f"{', '.join(str(b.shape) for b in faces)}"
            )
    spread = []
    for i, a in enumerate(faces):
        # A zero between two neighbors, and one at both ends of every axis that is not crossed.
        edges = [(0, 0, 0), *((0, 0, 1) if i == j else (1, 1, 1) for j in range(d)), (0, 0, 0)]
        spread.append(lax.pad(a, jnp.zeros((), a.dtype), edges))
    image = jnp.stack(spread, -1)
    return image.reshape(*image.shape[:-2], -1)


def image_to_faces(image: jax.Array) -> list[jax.Array]:
    """Return the staggered grid that an image of vectors holds: the inverse of `faces_to_image`.

    What the image has elsewhere is left out. The components that stay are exchanged among each
    other by the group, so that the result of an equivariant network gives an equivariant grid.

    Args:
        image: ``[N, 2 n_0 + 1, 2 n_1 + 1, ..., d C]``, such as `project_fields` returns.

    Raises:
        ValueError: a side is even, or the channels are not vectors.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import image_to_faces
    >>> [a.shape for a in image_to_faces(jnp.ones((1, 5, 7, 2)))]
    [(1, 3, 3, 1), (1, 2, 4, 1)]
    """
    image = jnp.asarray(image)
    d = image.ndim - 2
    if d not in (1, 2, 3) or any(n < 3 or n % 2 == 0 for n in image.shape[1:-1]):
        raise ValueError(
            "`image` must be [N, *spatial, C] with odd sides of at least 3, got shape "
            f"{image.shape}"
        )
    if image.shape[-1] % d:
        raise ValueError(
            f"`image` must have vectors of {d} components as channels, got {image.shape[-1]}"
        )
    vectors = image.reshape(*image.shape[:-1], -1, d)
    return [
        vectors[(slice(None), *(slice(int(i != j), None, 2) for j in range(d)), slice(None), i)]
        for i in range(d)
    ]
