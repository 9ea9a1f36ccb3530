"""Small operations on arrays that know nothing of groups.

``accumulation`` has the dtype of sums, ``arguments`` checks integers, ``channels`` merges group and
channel axes, and ``chunks`` maps a function over a few images at a time. ``dropout`` drops
whole examples and channels, and ``frozen`` makes NumPy tables read-only. ``maximum`` has a maximum
with a finite gradient, and ``once`` makes each value of a function once in a process.
"""
