"""A convolution over a finer group as one over its exact subgroup, with more channels.

Let H be the subgroup of the elements of G that map the lattice onto itself, such as C4 in C8 or C16
and D4 in D8. Turned by h in H, the taps are taps again, so the filter bank of any filters obeys
``psi_hr(h x, h s) = psi_r(x, s)``. With a representative c_j of each right coset, every element is
``s = h c_j``, and a feature map on G is one on H with the channels (j, c). The bank is then the one
over H of the base filter

    psi'(x, u)[(j, c), (i, o)] = psi_{c_i}(x, u c_j)[c, o]
                               = sum_p b_p(c_i^-1 x) w_p(c_i^-1 u c_j)[c, o],

whose pixels move onto pixels. It has |H| times fewer numbers to compute, and the Fourier transform
over H (`gconv_jax.conv.fourier`) is open to it.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gconv_jax.filters.bank import basis_table
from gconv_jax.filters.basis import FilterBasis
from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.ops.accumulation import accumulation_dtype
from gconv_jax.ops.frozen import freeze_array


class ExactSubgroup(NamedTuple):
    """The subgroup H of a group G that maps the lattice onto itself, and its right cosets."""

    group: FiniteGroup
    """G."""
    subgroup: FiniteGroup
    """H."""
    elements: np.ndarray
    """``elements[u, j]`` is the index of ``u c_j`` in G: ``[|H|, |G| / |H|]``."""

    @property
    def is_trivial(self) -> bool:
        """True if H has the identity alone, so that nothing is gained."""
        return self.subgroup.order == 1

    @property
    def permutes(self) -> bool:
        """True if the elements are not in the order of H and its cosets, so that feature maps are
        copied. Those of `cyclic` are."""
        return bool((self.elements.ravel() != np.arange(self.group.order)).any())

    @property
    def cosets(self) -> int:
        """The number of right cosets, |G| / |H|."""
        return self.elements.shape[1]

    def restrict(self, x: jax.Array) -> jax.Array:
        """Return a feature map ``[..., |G|, C]`` as one on H: ``[..., |H|, |G| / |H| C]``."""
        if self.permutes:
            x = x[..., self.elements.ravel(), :]
        return x.reshape(*x.shape[:-2], self.subgroup.order, self.cosets * x.shape[-1])

    def extend(self, y: jax.Array) -> jax.Array:
        """Return a feature map on H as the one on G that `restrict` makes it of."""
        order = self.group.order
        y = y.reshape(*y.shape[:-2], order, y.shape[-2] * y.shape[-1] // order)
        return y[..., np.argsort(self.elements.ravel()), :] if self.permutes else y

    def filter(self, w: jax.Array, basis: FilterBasis, kernel: tuple[int, ...]) -> jax.Array:
        """Return the base filter on H, in pixels.

        Args:
            w: ``[P, |G|, C_in, C_out]``.
            basis: the functions that the filter is a combination of.
            kernel: the size of the filter.

        Returns:
            ``[*kernel, |H|, |G| / |H| C_in, |G| / |H| C_out]``.
        """
        dtype = accumulation_dtype(w.dtype)  # half precision is kept for the convolution
        representatives = self.elements[self.subgroup.identity]
        turned = basis_table(basis, self.group, kernel)[representatives]  # [i, tap, p]
        # [i, u, j]: c_i^-1 u c_j
        source = self.group.cayley[self.group.inverse[representatives]][:, self.elements]
        taps = jnp.einsum(
            "itp,piujco->tujcio",
            jnp.asarray(turned, dtype),
            w.astype(dtype)[:, source],
            precision=lax.Precision.HIGHEST,
        )
        m, (c_in, c_out) = self.cosets, w.shape[-2:]
        return taps.reshape(*kernel, self.subgroup.order, m * c_in, m * c_out)


@functools.cache
def exact_subgroup(group: FiniteGroup) -> ExactSubgroup:
    """Return the largest subgroup that moves the taps of a square filter onto taps.

    It is trivial for odd numbers of rotations and on hexagonal lattices.

    >>> from gconv_jax import cyclic, dihedral
    >>> exact_subgroup(cyclic(8)).subgroup, exact_subgroup(dihedral(6)).subgroup
    (P4, dihedral(2))
    """
    exact = [g for g in group.elements if group.isometries[g].is_lattice]
    subgroup = group.subgroup(*([] if group.is_hexagonal else exact))
    cosets = group.cosets(subgroup, "right")
    return ExactSubgroup(group, subgroup, freeze_array(cosets.T))
