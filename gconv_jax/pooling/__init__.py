"""Pooling over the group and over space.

``group_axis`` pools over the group or its cosets, restricts to subgroups and induces from them.
``fields`` makes vectors of feature maps.
``spatial`` pools over windows in space in a way that keeps the equivariance law, and upsamples.
"""
