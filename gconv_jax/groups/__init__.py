"""Groups: finite ones, their elements and irreducible representations, and the continuous ones.

``finite`` has `FiniteGroup` and the ready groups, ``elements`` the isometries that they consist of,
``irreps`` the Fourier transform over a finite group, ``lie`` SO(2) and O(2).
"""
