"""One step, on one device under jit or on all local devices under pmap."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Parallel:
    """Compiles functions for one device or for several.

    Under pmap, sharded arguments carry a leading axis of devices and results are equal on all of
    them: the functions reduce over ``axis_name`` themselves.
    """

    mode: Literal["jit", "pmap"]
    devices: int = 1

    @property
    def axis_name(self) -> str | None:
        return "devices" if self.mode == "pmap" else None

    def compile(self, fn: Callable, *, sharded: tuple[bool, ...], donate: bool = False) -> Callable:
        """``fn`` compiled; ``sharded`` says for each argument whether devices get parts of it,
        ``donate`` that the first argument's memory may be reused for the result."""
        donated = (0,) if donate else ()
        if self.mode == "jit":
            return jax.jit(fn, donate_argnums=donated)
        axes = tuple(0 if s else None for s in sharded)
        return jax.pmap(fn, axis_name=self.axis_name, in_axes=axes, out_axes=None)

    def replicate(self, tree):
        """Put a pytree of arrays on every device, once: pass it as sharded from then on."""
        if self.mode == "jit":
            return jax.tree.map(jnp.asarray, tree)
        copy = jax.pmap(lambda _, tree: tree, in_axes=(0, None))
        return copy(jnp.arange(self.devices), tree)

    def shard(self, array: np.ndarray | jax.Array, axis: int = 0):
        """``[..., batch, ...]`` to ``[devices, ..., batch / devices, ...]``, cut along ``axis``;
        under jit, the array itself."""
        if self.mode == "jit":
            return array
        shape = array.shape
        parts = array.reshape(*shape[:axis], self.devices, -1, *shape[axis + 1 :])
        return parts.swapaxes(0, axis) if axis else parts


def choose_parallel(mode: Literal["auto", "jit", "pmap"], batch_size: int) -> Parallel:
    """``auto`` is pmap as soon as there are several local devices.

    ValueError if the batch does not divide by the devices.
    """
    devices = jax.local_device_count()
    if mode == "jit" or (mode == "auto" and devices == 1):
        return Parallel("jit")
    if batch_size % devices:
        below, above = batch_size // devices * devices, -(-batch_size // devices) * devices
        raise ValueError(
            f"`batch_size` {batch_size} does not divide by the {devices} local devices; use "
            f"{f'{below} or ' if below else ''}{above}, or --parallel jit"
        )
    return Parallel("pmap", devices)
