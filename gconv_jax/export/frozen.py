"""Networks with their parameters as constants and their filter banks computed: `freeze`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen, nnx
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from gconv_jax.export.folding import fold


class Frozen:
    """A network with its parameters as constants: a function of images ``[N, *spatial, C]``.

    `freeze` makes it.
    """

    def __init__(self, function: Callable):
        self._function = function
        self._programs: dict = {}

    def __call__(self, x: jax.Array):
        """Return the model's result; the first call with a shape compiles a program for it."""
        x = jnp.asarray(x)
        key = (x.shape, x.dtype)
        if key not in self._programs:
            closed, shapes = self._trace(x)
            self._programs[key] = jax.jit(jaxpr_as_fun(closed)), jax.tree.structure(shapes)
        run, tree = self._programs[key]
        return jax.tree.unflatten(tree, run(x))

    def jaxpr(self, x: jax.Array | jax.ShapeDtypeStruct) -> ClosedJaxpr:
        """Return the program for images of this shape and dtype, with its constants."""
        return self._trace(x)[0]

    def _trace(self, x):
        x = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.make_jaxpr(fold(self._function, x), return_shape=True)(x)


def freeze(model: Callable, **kwargs) -> Frozen:
    """Return a network in evaluation as a plain one, with its constants computed ahead.

    Filter banks are expanded, batch statistics are folded into the convolutions, and group axes are
    merged into the channels. The frozen network has planar convolutions, elementwise functions and
    pooling; where it is faster it keeps the Fourier transform over the group. Its results are the
    model's to rounding. A function that jumps, such as ``jnp.sign``, may differ where its argument
    is within rounding of the jump. `freeze` works on the program that JAX traces, so it takes any
    model, whatever other operations it has.

    Args:
        model: an NNX module, which is evaluated as after ``model.eval()`` and stays as it is, a
            bound Linen module (``module.bind(variables)``), or any other function of images.
        **kwargs: keywords for the model, e.g. ``train=False`` of a Linen module.

    Returns:
        A function of images; later changes of the model do not reach it.

    Raises:
        TypeError: ``model`` is not a function.
        ValueError: a Linen module is not bound, or parameters are traced.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax.export import freeze
    >>> from gconv_jax.models import P4CNN
    >>> model = P4CNN(width=2, rngs=nnx.Rngs(0))
    >>> frozen = freeze(model)
    >>> x = jnp.ones((2, 28, 28, 1))
    >>> model.eval()
    >>> bool(jnp.allclose(frozen(x), model(x), atol=1e-5))
    True
    """
    return Frozen(_function(model, kwargs))


def _function(model: Callable, kwargs: dict) -> Callable:
    """Return the model as a pure function of images."""
    if isinstance(model, nnx.Module):
        model = nnx.clone(model)
        model.eval()
        graphdef, state = nnx.split(model)

        def evaluate(x):
            return nnx.merge(graphdef, state, copy=True)(x, **kwargs)

        return evaluate
    if isinstance(model, linen.Module):
        if model.scope is None:
            raise ValueError("a Linen `model` must be bound: pass module.bind(variables)")
        module, variables = model.unbind()
        return lambda x: module.apply(variables, x, **kwargs)
    if not callable(model):
        raise TypeError(
            f"`model` must be an NNX module, a bound Linen module or a function, got {model!r}"
        )
    return lambda x: model(x, **kwargs)
