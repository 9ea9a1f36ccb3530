"""The action of a group on pixels: which elements map the grid onto itself, and how.

``action`` moves images and feature maps by group elements, ``padding`` resolves windows and says
whether they keep the equivariance law, ``sampling`` has the kernels of interpolation.
"""
