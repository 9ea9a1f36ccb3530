"""Multiplication tables of groups, most of which are no groups of isometries."""

import numpy as np

from gconv_jax import cyclic, dihedral
from gconv_jax.groups.irreps import irreps_of_table


def closure(multiply, *generators) -> np.ndarray:
    """The table of the group generated, its elements in sorted order."""
    found = list(generators)
    for g in found:  # grows while it is read
        found += [p for p in dict.fromkeys(multiply(g, h) for h in generators) if p not in found]
    found.sort()
    return np.array([[found.index(multiply(g, h)) for h in found] for g in found])


def permutations(*generators: tuple[int, ...]) -> np.ndarray:
    return closure(lambda g, h: tuple(g[i] for i in h), *generators)


def matrices(*generators: list[list[int]], modulo: int = 0) -> np.ndarray:
    def multiply(g, h):
        product = np.array(g) @ np.array(h)
        return tuple(map(tuple, (product % modulo if modulo else product).tolist()))

    return closure(multiply, *(tuple(map(tuple, g)) for g in generators))


TURN_Z = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
TURN_X = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
INVERSION = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]
SHEARS = [[1, 1], [0, 1]], [[1, 0], [1, 1]]

TABLES = {
    "S3": permutations((1, 0, 2), (1, 2, 0)),
    "A4": permutations((1, 2, 0, 3), (1, 0, 3, 2)),
    "S4": permutations((1, 0, 2, 3), (1, 2, 3, 0)),
    "A5": permutations((1, 2, 0, 3, 4), (1, 2, 3, 4, 0)),
    "S5": permutations((1, 0, 2, 3, 4), (1, 2, 3, 4, 0)),
    "octahedral": matrices(TURN_Z, TURN_X),
    "full-octahedral": matrices(TURN_Z, TURN_X, INVERSION),
    "Q8": matrices([[0, 1], [2, 0]], [[1, 1], [1, 2]], modulo=3),
    "SL(2,3)": matrices(*SHEARS, modulo=3),
    "F20": matrices([[1, 1], [0, 1]], [[2, 0], [0, 1]], modulo=5),
    "F21": matrices([[1, 1], [0, 1]], [[2, 0], [0, 1]], modulo=7),
    **{f"C{n}": cyclic(n).cayley for n in range(1, 13)},
    **{f"D{n}": dihedral(n).cayley for n in range(1, 13)},
}
COMPUTED = {name: irreps_of_table(table) for name, table in TABLES.items()}
"""The irreducible representations of each group."""
