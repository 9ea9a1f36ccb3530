"""The action of a group on pixels: which elements map the grid onto itself, and how.

``action`` moves images and feature maps by group elements, and ``rotate`` turns images by any
angle. ``padding`` resolves windows and says whether they keep the equivariance law; ``exactness``
warns if they do not. ``hexagons`` has the checks and masks of hexagonal lattices, and ``sampling``
the kernels of interpolation.
"""
