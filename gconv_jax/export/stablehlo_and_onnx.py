"""Trained networks as files that need nothing of this library: StableHLO and ONNX."""

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import export

from gconv_jax.export.folding import fold
from gconv_jax.export.frozen import _function

PLATFORMS = ("cpu", "cuda", "tpu")


def stablehlo(
    model: Callable,
    shape: Sequence[int | None],
    path: str | os.PathLike,
    *,
    dtype=jnp.float32,
    platforms: Sequence[str] = PLATFORMS,
    **kwargs,
) -> Path:
    """Write a network in evaluation to a StableHLO file, which JAX alone can run.

    The file is that of ``jax.export``: it runs on any platform and for batches of any size. The
    network is frozen first, and all its convolutions are XLA's own. To run it without this
    library::

        from jax import export
        logits = export.deserialize(pathlib.Path(path).read_bytes()).call(images)

    Args:
        model, kwargs: the network and its keywords, as in `freeze`.
        shape: the shape of the images, ``(None, *spatial, C)``; None for batches of any size.
        path: the file, which is replaced when it is whole.
        dtype: the dtype of the images.
        platforms: the platforms that it is to run on: ``cpu``, ``cuda``, ``rocm`` or ``tpu``.

    Returns:
        The path.

    Raises:
        TypeError, ValueError: as `freeze`; or ``shape`` is not one of images.
        ImportError: flatbuffers is missing, which the extra ``export`` brings.

    >>> import tempfile, pathlib
    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from jax import export
    >>> from gconv_jax.export import stablehlo
    >>> from gconv_jax.models import P4CNN
    >>> model = P4CNN(width=2, rngs=nnx.Rngs(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = stablehlo(model, (None, 28, 28, 1), pathlib.Path(folder) / "p4cnn.jax")
    ...     program = export.deserialize(path.read_bytes())
    >>> program.call(jnp.ones((3, 28, 28, 1))).shape
    (3, 10)
    """
    run, x = _portable(model, shape, dtype, kwargs)
    if importlib.util.find_spec("flatbuffers") is None:
        raise ImportError("stablehlo needs flatbuffers: pip install 'gconv_jax[export]'")
    exported = export.export(jax.jit(run), platforms=tuple(platforms))(x)
    return _write(path, exported.serialize())


def onnx(
    model: Callable,
    shape: Sequence[int | None],
    path: str | os.PathLike,
    *,
    dtype=jnp.float32,
    metadata: Mapping[str, str] | None = None,
    **kwargs,
) -> Path:
    """Write a network in evaluation to an ONNX file, which runs without JAX.

    onnxruntime, OpenVINO, TensorRT and others run such files. The network is frozen first. Its
    input is ``x`` ``[N, *spatial, C]``, channels last as in JAX. Its result is ``y``, or ``y0``,
    ``y1`` ... in the order of ``jax.tree.leaves`` if there are several. To run it::

        import onnxruntime
        session = onnxruntime.InferenceSession(path)
        (logits,) = session.run(None, {"x": images})

    Args:
        model, kwargs, shape: as in `stablehlo`.
        path: the file, which is replaced when it is whole.
        dtype: the dtype of the images. A network should be of float32 (``dtype=jnp.float32`` of its
            layers, which is the default), since few programs have convolutions of other types.
        metadata: texts by name that go with the file, such as the names of the classes. In
            onnxruntime they are ``session.get_modelmeta().custom_metadata_map``.

    Returns:
        The path.

    Raises:
        TypeError, ValueError: as `stablehlo`; or an operation has no ONNX form here, which the
            message names.
        ImportError: the package onnx is missing, which the extra ``onnx`` brings.

    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from flax import nnx
    >>> from gconv_jax.export import onnx
    >>> from gconv_jax.models import P4CNN
    >>> import onnxruntime
    >>> model = P4CNN(width=2, rngs=nnx.Rngs(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = onnx(model, (None, 28, 28, 1), pathlib.Path(folder) / "p4cnn.onnx")
    ...     session = onnxruntime.InferenceSession(path)
    >>> session.run(None, {"x": np.ones((3, 28, 28, 1), np.float32)})[0].shape
    (3, 10)
    """
    run, x = _portable(model, shape, dtype, kwargs)
    if importlib.util.find_spec("onnx") is None:
        raise ImportError("onnx needs the package onnx: pip install 'gconv_jax[onnx]'")
    from gconv_jax.export.onnx_operations import onnx_model

    closed, shapes = jax.make_jaxpr(run, return_shape=True)(x)
    count = len(jax.tree.leaves(shapes))
    names = ["y"] if count == 1 else [f"y{i}" for i in range(count)]
    model = onnx_model(closed, names)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    return _write(path, model.SerializeToString())


def read_image(
    path: str | os.PathLike,
    size: tuple[int, int, int],
    ink: str = "auto",
    *,
    range: str | Sequence[float] | None = None,
    depth: str = "any",
    ground: str | None = None,
):
    """Return the pixels of an image file as networks of ``python -m train`` know them.

    It is `gconv_jax.export.image_files.read_image`. That needs Pillow and NumPy alone, and tifffile
    for TIFF files that Pillow does not read whole. ``python -m train export`` writes a copy of it
    beside each network.

    Args:
        path: an image in any format of Pillow's but PostScript, or FITS, or ``.npy`` with
            ``[H, W]`` or ``[H, W, C]``. If it has several frames, the first is read.
        size: ``(H, W, C)``. The image is scaled to fit, without distortion, and centered on the
            median of its border; with one channel it becomes gray, with three RGB. Another number
            of channels, up to 16, is taken as it is in the file.
        ink: ``"light"`` leaves the brightness as it is, ``"dark"`` inverts it, and ``"auto"``
            inverts gray images with a light border.
        range: the brightness that becomes 0 and the one that becomes 255; ``"each"`` takes those of
            the image. By default 8 bits stay as they are, and others are scaled by the full range
            of 8 or 16 bits.
        depth: ``"8"`` refuses files of more than 8 bits a channel, ``"deeper"`` those of 8.
        ground: ``"black"`` or ``"white"``, on which transparent images are put; by default what is
            in contrast to each.

    Returns:
        uint8 ``[H, W, C]``.

    Raises:
        ValueError: the file cannot be read, which the message names, or an argument is not one of
            those allowed.
        ImportError: Pillow is missing, which the extra ``export`` brings.

    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> from gconv_jax.export import read_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "wide.png"
    ...     Image.new("RGB", (40, 20), "navy").save(path)
    ...     pixels = read_image(path, (28, 28, 3))
    >>> pixels.shape, pixels[14, 14].tolist()
    ((28, 28, 3), [0, 0, 128])
    """
    if importlib.util.find_spec("PIL") is None:
        raise ImportError("read_image needs Pillow: pip install 'gconv_jax[export]'")
    from gconv_jax.export.image_files import read_image

    return read_image(path, size, ink, range=range, depth=depth, ground=ground)


def _portable(model: Callable, shape: Sequence[int | None], dtype, kwargs: dict):
    """Return the frozen model as a function of XLA's own operations, and the shape of its input."""
    function = _function(model, kwargs)
    sizes = tuple(shape)[1:] if shape and shape[0] is None else tuple(shape)
    if len(shape) < 2 or not all(isinstance(n, int) and n > 0 for n in sizes):
        raise ValueError(
            f"`shape` must be (None, *spatial, C) or (N, *spatial, C), got {tuple(shape)}"
        )
    if shape[0] is None:
        (batch,) = export.symbolic_shape("n")
        sizes = (batch, *sizes)

    def run(x):
        return fold(function, jax.ShapeDtypeStruct(x.shape, x.dtype), portable=True)(x)

    return run, jax.ShapeDtypeStruct(sizes, dtype)


def _write(path: str | os.PathLike, content: bytes | bytearray) -> Path:
    """Write a file in such a way that its old content stays until the new one is whole."""
    path = Path(path)
    beside = path.with_name(path.name + ".tmp")
    beside.write_bytes(content)
    beside.replace(path)
    return path
