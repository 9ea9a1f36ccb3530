"""``train/`` under the name that it has in the wheel, for installations in place (``pip -e``).

A wheel carries ``train/`` as ``gconv_jax_train``, since an installed package called ``train`` would
collide with a user's own ``train.py``.
"""

from pathlib import Path

__path__ = [str(Path(__file__).parents[2])]
