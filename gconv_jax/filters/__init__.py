"""Filters, from the parameters of a base filter to the bank of transformed filters.

``bank`` has the action of a group on filters, and the filter bank that it gives. ``basis`` has
filters that turn by any angle. ``kernel_transforms`` has functions that change base filters before
each use, and ``initializers`` has the distribution that base filters are drawn from.
"""
