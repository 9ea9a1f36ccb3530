"""Groups: finite ones, their elements and irreducible representations, and the continuous ones.

``finite`` has `FiniteGroup` and the functions that make groups. ``elements`` has the isometries
that groups consist of, and ``point_groups`` says which isometries each ready-made group has.
``irreps`` has the irreducible representations and the Fourier transform over a finite group. Two
modules serve it: ``cayley_table`` checks multiplication tables, ``irrep_bases`` finds sparse bases.
``lie`` has SO(2) and O(2).
"""
