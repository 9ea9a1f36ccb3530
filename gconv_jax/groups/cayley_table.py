"""Multiplication tables of finite groups: their check, and the orders and classes of elements."""

from dataclasses import dataclass

import numpy as np

ZERO = 1e-9
"""The size below which a number is zero, for numbers that rounding disturbs by 1e-14."""


@dataclass(frozen=True, eq=False)
class CayleyTable:
    """The multiplication table of a finite group, with what follows from it."""

    table: np.ndarray
    """``table[g, h]`` is the index of the product gh."""
    inverse: np.ndarray
    """The inverse of each element."""
    orders: np.ndarray
    """The order of each element."""
    leaders: np.ndarray
    """The smallest index of each class of conjugate elements."""

    @classmethod
    def checked(cls, cayley: np.ndarray) -> "CayleyTable":
        """Return the table with its consequences; ValueError if it is not that of a group."""
        table = np.asarray(cayley)
        if table.ndim != 2 or not 0 < len(table) == table.shape[1] or table.dtype.kind not in "iu":
            raise ValueError(
                "`cayley` must be a square table of integers, cayley[g, h] the index of the "
                f"product gh; got shape {table.shape} of {table.dtype}"
            )
        table = table.astype(np.int64)
        every = np.arange(len(table))
        neutral = (table == every).all(1) & (table == every[:, None]).all(0)
        refuse = "`cayley` must be the multiplication table of a group, got one "
        if not (np.sort(table, 0) == every[:, None]).all() or not (np.sort(table) == every).all():
            raise ValueError(
                refuse + f"with a row or column that is not 0 ... {every[-1]} permuted"
            )
        if not neutral.any():
            raise ValueError(refuse + "without an identity e, for which eg = ge = g")
        for g, row in enumerate(table):
            if (table[row] != row[table]).any():
                h, k = np.argwhere(table[row] != row[table])[0]
                why = f"that is not associative: (gh)k != g(hk) for {g}, {h} and {k}"
                raise ValueError(refuse + why)
        identity = np.argmax(neutral)
        inverse = np.argmax(table == identity, axis=1)
        powers, orders = every, np.ones_like(every)
        while (unfinished := powers != identity).any():
            orders = orders + unfinished
            powers = np.where(unfinished, table[powers, every], powers)
        conjugates = table[table, inverse[:, None]]  # [g, h]: g h g^-1
        return cls(table, inverse, orders, np.flatnonzero(conjugates.min(0) == every))

    @property
    def order(self) -> int:
        """The number of elements."""
        return len(self.table)

    def is_homomorphism(self, matrices: np.ndarray) -> bool:
        """Return whether rho(g) rho(h) = rho(gh) for all g and h, up to rounding."""
        products = np.tensordot(matrices, matrices, (2, 1))  # [g, i, h, j]
        return bool(np.abs(products - matrices[self.table].transpose(0, 2, 1, 3)).max() < ZERO)
