"""Convolutions on continuous groups, over sampled elements.

``conv`` has the two convolutions, ``kernel_networks`` the networks that make their filters,
``sampled`` the features on sampled elements, ``support`` the learned ones of partial equivariance.
"""
