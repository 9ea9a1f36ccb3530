"""Checks of the equivariance law, for these layers and for a user's own functions and models.

The equivariance law is ``fn(L_g x) == L_g fn(x)`` for every element g of a finite group. Nothing is
sampled: all elements are tried, and a report says which one failed, in which layer, by how much.
`assert_equivariant` checks a function or a model, and `equivariance_errors` measures each layer.

**Perturbation.** A fresh network may keep the law by accident: batch normalization over the wrong
axis does nothing wrong while its statistics are 0 and 1 and its scales 1. So a Flax module is
checked twice: as it is, and as a copy with parameters and batch statistics perturbed. These are all
``nnx.Param`` and ``nnx.BatchStat``, or Linen's collections ``params`` and ``batch_stats``. Values
grow by a random part of their size, about a quarter, the same at each call, and keep their signs;
zeros become random numbers. Take ``x`` of about unit size, since a bias has no visible effect
beside pixels of 0 to 255. Only a module can be perturbed: pass the model itself, not a function
that calls it.

**Precision.** By default a GPU multiplies float32 numbers with 10 bits (TF32), and a TPU with 7.
That rounding is about 3e-4 of a layer's result on a GPU, and has nothing to do with the law. So
both checks compute under ``jax.default_matmul_precision("highest")``. A layer with a ``precision``
of its own keeps it, and needs a larger ``rtol``, as float16 and bfloat16 do.

**Tolerances.** Multiples of 90 degrees and reflections move pixels onto pixels, so the law holds to
rounding, and the default of ``rtol`` is for that. At other angles the values between the pixels
must be interpolated, so the law holds as far as images and feature maps are smooth. To choose
``rtol_resampled``, take `smooth_images`, or your own data padded so that it vanishes outside the
disc. Then compare with the equivariance errors that benchmarks/rotation_error.py prints for two
layers, which are about:

| filters | feature maps | means over space |
|---|---|---|
| harmonic | 0.03 | 0.005 |
| bilinear | 0.3 | 0.02 |
| not equivariant | 1 | 0.1 |

Strides and many layers with ReLU add to the error. So do biases in feature maps, since they end at
the border: with harmonic filters they make it 0.1 when perturbed. If the error does not shrink when
the image is drawn twice as large, the law is broken.
"""

from gconv_jax.testing.equivariance import (
    EquivarianceReport as EquivarianceReport,
    assert_equivariant as assert_equivariant,
    equivariance_errors as equivariance_errors,
)
from gconv_jax.testing.local import (
    LocalEquivarianceReport as LocalEquivarianceReport,
    local_equivariance_errors as local_equivariance_errors,
)
from gconv_jax.testing.moves import smooth_images as smooth_images
