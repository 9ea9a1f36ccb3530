"""The ordinary convolution that every layer goes through.

``conv`` has it and its gradients, ``primitive`` the JAX primitive, ``patches`` and ``depthwise``
other ways of computing it.
"""
