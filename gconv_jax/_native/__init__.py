"""Machine code for CPUs, called by JAX as foreign functions: optional and private.

Everything works without this package. It makes layers on a CPU 1.3 to 3 times as fast, with the
extra ``cpu`` (wheels only, no compiler). Who knows JAX alone never has to enter. The rest of the
library reaches it through one module, ``door``, which answers one question, ``available()``.
Only `gconv_jax.planar.implementation` and `gconv_jax.conv.fourier` ask it.

``xla_ffi`` makes Python functions targets of XLA's foreign function interface. ``onednn`` calls
Intel's oneDNN. ``fourier_call`` computes the Fourier form of group convolutions with a kernel that
``fourier_kernel`` writes for the group at hand, over the tiles of ``tiling``; ``llvm`` and
``llvm_matmul`` write and compile its parts.

Each part should be deleted as soon as it is of no use:

- oneDNN, when XLA's own convolution is within 1.1 of it in ``benchmarks/train_step.py``;
- the Fourier kernel and LLVM, when XLA's own form of ``gconv_jax.conv.fourier`` is within 1.1 of it
  in ``benchmarks/group_conv.py``, or when Pallas compiles for CPUs and a kernel in it is;
- ``xla_ffi``, with the last of them;
- im2col products and the added column in `gconv_jax.planar`, which are no part of this package,
  when the oldest supported jax is past 0.12 and ``benchmarks/xla_conv.py`` says so.
"""
