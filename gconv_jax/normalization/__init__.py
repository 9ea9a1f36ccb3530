"""Functions that scale features on the group by invariant numbers, in either basis.

``layer_norm`` normalizes each position and ``group_norm`` each example. ``film`` scales and shifts
channels by numbers from elsewhere. ``irrep_activations`` has the nonlinearities of the Fourier
basis. Batch normalization is in `gconv_jax.nnx.batch_norm`, since its state is Flax's.
"""
