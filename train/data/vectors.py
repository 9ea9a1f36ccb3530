"""Numbers that are the components of vectors, which turn with the image.

The components of a vector are along x, to the right, and y, down, as the coordinates of pixels are;
in volumes along x, y and z: along the width, the height and the depth. So they are in the reverse
order of the axes of the array, and all point to larger indices. In a mirror vectors are mirrored.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..names import join_names


class Vectors(NamedTuple):
    """The targets that are components of vectors.

    >>> flow = Vectors(((1, 2),), 3)  # of three targets, the last two are x and y of one vector
    >>> quarter = np.array([[0, -1], [1, 0]])  # on (row, column)
    >>> flow.turn(np.array([7.0, 1.0, 0.0]), quarter).tolist()  # from right to up
    [7.0, 0.0, -1.0]
    """

    places: tuple[tuple[int, ...], ...]
    """The places of the components of each vector among the targets: x, y, and in volumes z."""
    targets: int
    """The number of all targets."""

    @property
    def scalars(self) -> tuple[int, ...]:
        """The places of the targets that are no components."""
        used = {place for vector in self.places for place in vector}
        return tuple(k for k in range(self.targets) if k not in used)

    def matrices(self, isometry: Any) -> Any:
        """Return the action on the targets, ``[..., targets, targets]``, of isometries ``[..., d,
        d]`` on the axes of the array; arrays of JAX or of NumPy."""
        axis, vector = np.zeros(self.targets, int), np.full(self.targets, -1)
        for v, places in enumerate(self.places):
            for i, place in enumerate(reversed(places)):
                axis[place], vector[place] = i, v
        together = (vector[:, None] == vector) & (vector >= 0)
        return isometry[..., axis[:, None], axis] * together + np.diag(vector < 0)

    def turn(self, values: Any, isometry: Any) -> Any:
        """Return targets ``[..., targets]`` as an isometry ``[d, d]`` turns them, or ``[..., d,
        d]`` for each its own. Products are not those of matrices, which some devices round."""
        matrices = self.matrices(isometry).astype(values.dtype)
        return (matrices * values[..., None, :]).sum(-1)

    def lengths(self, values: np.ndarray) -> np.ndarray:
        """Return the length of each vector, ``[..., targets]`` to float64 ``[..., vectors]``."""
        values = np.asarray(values, np.float64)
        return np.stack([np.linalg.norm(values[..., list(v)], axis=-1) for v in self.places], -1)


def vectors_of(places: Iterable[Sequence[int]] | None, targets: int) -> Vectors | None:
    """Return the vectors whose places a file has; None if it has none."""
    return Vectors(tuple(tuple(v) for v in places), targets) if places else None


def find_vectors(components: Sequence[str], names: Sequence[str], dimension: int) -> Vectors | None:
    """Return the vectors of an option ``--vectors``; None if it names none.

    Args:
        components: the names in the option, those of each vector beside each other.
        names: the names of all targets.
        dimension: 2 for images, 3 for volumes.

    Raises:
        ValueError: a component that is no target.

    >>> find_vectors(["dx", "dy"], ["area", "dx", "dy"], 2)
    Vectors(places=((1, 2),), targets=3)
    """
    places = []
    for name in components:
        found = [i for i, known in enumerate(names) if known == name]
        found = found or [i for i, known in enumerate(names) if known.lower() == name.lower()]
        if len(found) != 1:
            raise ValueError(
                f"`vectors` {name} is none of the numbers of the images, which are "
                f"{join_names(names)}"
            )
        places += found
    starts = range(0, len(places), dimension)
    return vectors_of([places[i : i + dimension] for i in starts], len(names))


def center_and_scale(values: np.ndarray, vectors: Vectors | None) -> tuple[np.ndarray, np.ndarray]:
    """Return what is subtracted from targets ``[N, targets]`` and what they are divided by.

    These are mean and standard deviation. From vectors nothing is subtracted, since a mean vector
    would not turn with the image; all components of one are divided by one number, the root mean
    square of a component.
    """
    values = values.astype(np.float64)
    center, scale = values.mean(0), values.std(0)
    for places in () if vectors is None else vectors.places:
        center[list(places)] = 0
        scale[list(places)] = math.sqrt(np.square(values[:, list(places)]).mean())
    return center.astype(np.float32), scale.astype(np.float32)
