"""The departures that relaxed layers of a trained network have learned."""

from flax import nnx

from gconv_jax import symmetry_breaking
from gconv_jax.nnx import RelaxedGroupConv, RelaxedLiftConv


def departures(model: nnx.Module) -> dict[str, dict[str, float]]:
    """Return, for each relaxed layer by its path, how far the filter of each element departs from
    the mean over the elements (`gconv_jax.symmetry_breaking`); empty without such layers."""
    found = {}
    for path, layer in nnx.iter_graph(model):
        if isinstance(layer, RelaxedLiftConv | RelaxedGroupConv):
            found[".".join(map(str, path))] = symmetry_breaking(layer)
    return dict(sorted(found.items()))
