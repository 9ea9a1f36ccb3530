"""Any model, made equivariant: exactly, softly, or by choosing the pose.

- `gconv_jax.adapt.symmetrize`: the mean of a function over the poses of its input.
- `gconv_jax.adapt.canonicalize`: one pose for each image, chosen by scores.
- `gconv_jax.adapt.penalty`: the deviation from the law, as a term of a loss.
- `gconv_jax.adapt.project`: the equivariant part of an ordinary filter.
- `gconv_jax.adapt.start`: a G-CNN that starts from a trained plain network.
- `gconv_jax.adapt.relaxed`: filters that may differ between elements.
- `gconv_jax.adapt.residual`: a free convolution beside an equivariant one.
- `gconv_jax.adapt.poses`: what these share.
"""
