"""The parts of this package that the rest of the library may use."""

from typing import Literal

from gconv_jax._native import fourier_call, llvm, onednn
from gconv_jax._native.fourier_call import (
    MOST_ELEMENTS as MOST_ELEMENTS,
    Patches as Patches,
    filter_gradient as fourier_filter_gradient,  # noqa: F401
    output as fourier_output,  # noqa: F401
)
from gconv_jax._native.onednn import (
    conv as conv,
    filter_gradient as filter_gradient,
    has_kernel as has_kernel,
    input_gradient as input_gradient,
)

Part = Literal["onednn", "fourier"]


def available(part: Part) -> bool:
    """Return whether a part can be used here: ``onednn`` has convolutions, ``fourier`` the Fourier
    form of group convolutions. The first call loads its library; one that is installed and cannot
    be used is named in a warning, once."""
    return {"onednn": onednn, "fourier": fourier_call}[part].available()


def arithmetic() -> llvm.Arithmetic:
    """Return how fast this processor multiplies, beside other work. Loads LLVM."""
    return llvm.arithmetic()
