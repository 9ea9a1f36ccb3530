"""Checks of the equivariance law, for these layers and for a user's own functions and models.

The law is ``fn(L_g x) == L_g fn(x)`` for every element g of a finite group. Nothing is sampled:
all elements are tried, and a report says which one failed, in which layer, by how much.

**Perturbation.** A fresh network may keep the law by accident: batch normalization over the wrong
axis does nothing wrong while its statistics are 0 and 1 and its scales 1. So a Flax module is
checked twice, as it is, and as a copy with parameters and batch statistics perturbed: each
``nnx.Param`` and ``nnx.BatchStat``, or all of Linen's collections ``params`` and ``batch_stats``.
Values grow by a random quarter or so of their size, the same at each call, and keep their signs;
zeros become random numbers. Take ``x`` of about unit size, since a bias is not seen beside pixels
of 0 to 255. Only a module can be perturbed: pass the model itself, not a function that calls it.

**Tolerances.** Multiples of 90 degrees and reflections move pixels onto pixels, so the law holds to
rounding, and the default of ``rtol`` is for that. At other angles an image is known only between
its pixels, and so is what a layer makes of it: the law holds as far as everything is smooth. To
choose ``rtol_resampled``, take `smooth_images`, or your own data padded so that it vanishes outside
the disc, and compare with what benchmarks/rotation_error.py prints for two layers: about 0.03 for
feature maps with harmonic filters, 0.3 with bilinear ones, 1 where nothing is equivariant; for
their means over space 0.005, 0.02 and 0.1. Strides and many layers with ReLU come on top, and for
feature maps biases, which end at the border: with harmonic filters 0.1 when perturbed. An error
that does not shrink when the image is drawn twice as large is a broken law.
"""

from gconv_jax.testing.equivariance import (
    EquivarianceReport as EquivarianceReport,
    assert_equivariant as assert_equivariant,
    equivariance_errors as equivariance_errors,
)
from gconv_jax.testing.moves import smooth_images as smooth_images
