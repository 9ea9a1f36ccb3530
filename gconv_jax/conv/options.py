"""The options that all group convolutions share, checked once where a user gives them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from gconv_jax.filters.bank import check_filter
from gconv_jax.filters.basis import FilterBasis, Filters, find_basis
from gconv_jax.groups.fields import Fields
from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.lattice.padding import PaddingLike, Windows, make_windows


@dataclass(frozen=True)
class ConvOptions:
    """The options of one call of a convolution. A public function declares them as keywords, makes
    this value of them, and passes it on."""

    caller: str
    """The name of the function that the user called, for warnings and errors."""
    group: FiniteGroup
    bias: jax.Array | None = None
    strides: int | Sequence[int] = 1
    padding: PaddingLike = "SAME"
    dilation: int | Sequence[int] = 1
    dtype: DTypeLike | None = None
    precision: lax.PrecisionLike = None
    filters: Filters = "pixel"
    kernel_size: int | Sequence[int] | None = None
    fields: Fields | None = None
    """The fields that the channels of an image are, in a lifting convolution."""

    @property
    def filter_options(self) -> dict[str, Any]:
        """The arguments of `filter_bank` that say what the parameters of a filter are."""
        return {"group": self.group, "filters": self.filters, "kernel_size": self.kernel_size}

    @property
    def basis(self) -> FilterBasis | None:
        """The functions that filters are combinations of; None for pixels."""
        return find_basis(self.filters, self.group)

    def kernel(self, w: jax.Array, *, lifting: bool, name: str = "w") -> tuple[int, ...]:
        """Return the spatial size of a base filter; ValueError or TypeError if ``w`` is none."""
        return check_filter(w, lifting=lifting, name=name, **self.filter_options)

    def windows(self, kernel: Sequence[int]) -> Windows:
        """Return the windows of a filter of this size; ValueError names a wrong option."""
        return make_windows(kernel, self.strides, self.padding, self.dilation)

    def result_dtype(self, *operands: jax.Array, floating: bool = False) -> Any:
        """Return ``dtype``, or else what the operands and the bias promote to.

        Args:
            operands: the image and the filters.
            floating: the convolution averages, so that integers do not suffice. They never do for
                filters other than pixels, whose values are not integers.

        Raises:
            ValueError: ``dtype`` is an integer type where integers do not suffice.
        """
        basis = self.basis
        dtype = self.dtype
        if dtype is None:
            numbers = [*operands, *([] if self.bias is None else [self.bias])]
            dtype = jnp.result_type(*numbers, *([] if basis is None else [1.0]))
        if jnp.issubdtype(dtype, jnp.inexact):
            return dtype
        if basis is not None:
            raise ValueError(f"`dtype` must be floating for filters={self.filters!r}, got {dtype}")
        if floating:
            raise ValueError(f"`dtype` must be floating, got {dtype}; pass dtype=jnp.float32")
        return dtype
