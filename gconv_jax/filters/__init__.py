"""Filters, from the parameters of a base filter to the bank of transformed filters.

``basis`` has filters that turn by any angle, ``bank`` the action of a group on filters,
``kernel_transforms`` functions of base filters, ``fast_initializers`` their initializers.
"""
