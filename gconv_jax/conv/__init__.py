"""Group convolutions.

``group`` has `lift_conv` and `group_conv`; ``separable``, ``transposed`` and ``quotient`` are their
relatives; ``algorithm`` chooses between a filter bank and the Fourier transform of ``fourier``.
"""
