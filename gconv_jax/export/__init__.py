"""Trained networks as plain ones, and as files that need nothing of this library.

``files`` has what users call, ``folding`` computes constants ahead, and the modules ``onnx_*``
write ONNX models. ``image_files`` is copied beside an exported network.
"""

from gconv_jax.export.files import onnx as onnx, read_image as read_image, stablehlo as stablehlo
from gconv_jax.export.frozen import Frozen as Frozen, freeze as freeze
