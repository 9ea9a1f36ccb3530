"""The filters of the first convolution of a network, to draw."""

import numpy as np
from flax import nnx

from gconv_jax import Z2, filter_bank
from gconv_jax.continuous.conv import continuous_bank
from gconv_jax.nnx import (
    Canonicalized,
    ContinuousLiftConv,
    LiftConv,
    RelaxedLiftConv,
    Symmetrized,
)

from .feature_maps import sampled_names

FILTERS = 20
"""The most filters that are drawn."""


def first_filters(model: nnx.Module) -> tuple[np.ndarray, list[str]] | None:
    """The filters of the first convolution for each group element, ``[k, k, |G|, C]``, and the
    names of the elements; None if a model of the user's own has no such layer of NNX."""
    if isinstance(model, Symmetrized | Canonicalized):
        model = model.model  # pyright: ignore[reportAssignmentType]
    kinds = (LiftConv, RelaxedLiftConv, ContinuousLiftConv, nnx.Conv)
    layers = [m for _, m in nnx.iter_graph(model) if isinstance(m, kinds)]
    layers = [layer for layer in layers if len(layer.kernel_size) == 2]
    if not layers:
        return None
    # With rotation pooling every layer lifts; the first one has the fewest channels.
    conv = min(layers, key=lambda layer: layer.in_features)
    if isinstance(conv, ContinuousLiftConv):
        elements = conv.elements()
        of = {"group": conv.group, "elements": elements, "inputs": None}
        bank = continuous_bank(conv.kernel(), kernel_size=conv.kernel_size, **of)
        bank = np.asarray(bank)
        bank = bank.reshape(*bank.shape[:2], conv.in_features, -1, conv.out_features).mean(2)
        return bank[..., :FILTERS], sampled_names(elements.matrices)
    group = getattr(conv, "group", Z2)
    kernels = conv.kernel[...].astype(np.float32)[..., :FILTERS]
    weights = np.ones((1, group.order))
    if isinstance(conv, RelaxedLiftConv):
        weights = conv.weights[...]
    else:
        kernels = kernels[None]
    total = np.zeros(())
    for kernel, weight in zip(kernels, weights, strict=True):
        bank = filter_bank(
            kernel.mean(-2, keepdims=True),
            group=group,
            lifting=True,
            filters=getattr(conv, "filters", "pixel"),
            kernel_size=conv.kernel_size,
        )
        bank = np.asarray(bank).reshape(*bank.shape[:2], group.order, kernel.shape[-1])
        total = total + bank * np.asarray(weight)[:, None]
    return total, [group.element_name(g) for g in group.elements]
