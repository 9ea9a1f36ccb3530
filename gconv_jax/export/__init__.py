"""Trained networks as plain ones, and as files that need nothing of this library.

``stablehlo_and_onnx`` writes the files, and ``frozen`` has `freeze`. ``folding`` computes constants
ahead and folds affine maps into convolutions; it works on the lists of operations of ``jaxpr``. The
modules ``onnx_*`` write ONNX models: ``onnx_operations`` has the operations, ``onnx_indexing``
those that pick entries, ``onnx_rewrites`` replaces those that ONNX lacks, and ``onnx_graph`` has
the model while it is written. ``image_files`` reads images; it is copied beside an exported
network.
"""

from gconv_jax.export.frozen import Frozen as Frozen, freeze as freeze
from gconv_jax.export.stablehlo_and_onnx import (
    onnx as onnx,
    read_image as read_image,
    stablehlo as stablehlo,
)
