"""One step, on one device under jit, on all local ones under pmap, or on those of all processes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P

MODES = Literal["auto", "jit", "pmap", "sharding"]
_AXIS = "devices"


@dataclass(frozen=True)
class Parallel:
    """Compiles functions for one device or for several.

    Under pmap and sharding, sharded arguments carry a leading axis of devices and results are equal
    on all of them: the functions reduce over ``axis_name`` themselves. Under sharding the devices
    may be those of several processes; arrays are then parts of global ones, which every process
    makes from the same numbers.
    """

    mode: Literal["jit", "pmap", "sharding"]
    devices: int = 1

    @property
    def axis_name(self) -> str | None:
        return None if self.mode == "jit" else _AXIS

    def compile(self, fn: Callable, *, sharded: tuple[bool, ...], donate: bool = False) -> Callable:
        """``fn`` compiled; ``sharded`` says for each argument whether devices get parts of it,
        ``donate`` that the first argument's memory may be reused for the result."""
        donated = (0,) if donate else ()
        if self.mode == "jit":
            return jax.jit(fn, donate_argnums=donated)
        if self.mode == "pmap":
            axes = tuple(0 if s else None for s in sharded)
            return jax.pmap(fn, axis_name=_AXIS, in_axes=axes, out_axes=None)

        def on_one(*args):
            own = [_first(arg) if s else arg for arg, s in zip(args, sharded, strict=True)]
            return fn(*own)

        specs = tuple(P(_AXIS) if s else P() for s in sharded)
        # What the functions reduce is not seen through primitives of our own: check_vma=False.
        mapped = jax.shard_map(
            on_one, mesh=self._mesh, in_specs=specs, out_specs=P(), check_vma=False
        )
        compiled = jax.jit(mapped, donate_argnums=donated)

        def call(*args):
            pairs = zip(args, sharded, strict=True)
            return compiled(*(a if s else jax.tree.map(self._everywhere, a) for a, s in pairs))

        return call

    def replicate(self, tree):
        """Put a pytree of arrays on every device, once: pass it as sharded from then on."""
        if self.mode == "jit":
            return jax.tree.map(jnp.asarray, tree)
        if self.mode == "pmap":
            copy = jax.pmap(lambda _, tree: tree, in_axes=(0, None))
            return copy(jnp.arange(self.devices), tree)
        return jax.tree.map(
            lambda a: self._global((self.devices, *a.shape), lambda i: a[None]), tree
        )

    def shard(self, array: np.ndarray | jax.Array, axis: int = 0):
        """``[..., batch, ...]`` to ``[devices, ..., batch / devices, ...]``, cut along ``axis``;
        under jit, the array itself."""
        return self.put(self.own(array, axis))

    def own(self, array, axis: int = 0):
        """The part of a sharded array that this process has to provide: ``[own devices, ..., batch
        / devices, ...]``; under jit all of it."""
        if self.mode == "jit":
            return array
        shape = array.shape
        parts = array.reshape(*shape[:axis], self.devices, -1, *shape[axis + 1 :])
        parts = parts.swapaxes(0, axis) if axis else parts
        if jax.process_count() == 1:
            return parts
        here, devices = jax.process_index(), self._mesh.devices
        return parts[np.asarray([device.process_index == here for device in devices])]

    def put(self, own):
        """The sharded array from what each process has of it (`own`)."""
        if self.mode != "sharding":
            return own
        places = NamedSharding(self._mesh, P(_AXIS))
        return jax.make_array_from_process_local_data(
            places, np.asarray(own), (self.devices, *own.shape[1:])
        )

    def put_early(self, own):
        """As `put`, and already on the device: for batches that are read ahead of their step. Under
        pmap that is left to the call."""
        return jax.device_put(own) if self.mode == "jit" else self.put(own)

    def local(self, tree):
        """A replicated pytree of arrays as arrays of this process alone."""
        if self.mode != "sharding":
            return tree
        return jax.tree.map(lambda a: jnp.asarray(np.asarray(a)), tree)

    @property
    def _mesh(self) -> jax.sharding.Mesh:
        return jax.sharding.Mesh(np.asarray(jax.devices()[: self.devices]), (_AXIS,))

    def _global(self, shape: tuple[int, ...], part: Callable) -> jax.Array:
        """An array whose leading axis is that of the devices; each process gives its parts."""
        return jax.make_array_from_callback(shape, NamedSharding(self._mesh, P(_AXIS)), part)

    def _everywhere(self, value) -> jax.Array:
        """A value that all processes have, as an array on all devices."""
        value = jnp.asarray(value)
        if len(value.sharding.device_set) == self.devices and value.is_fully_replicated:
            return value
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            data = self._everywhere(jax.random.key_data(value))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(value))
        array = np.asarray(value)
        everywhere = NamedSharding(self._mesh, P())
        return jax.make_array_from_callback(array.shape, everywhere, lambda i: array[i])


def _first(tree):
    return jax.tree.map(lambda a: a[0], tree)


def choose_parallel(mode: MODES, batch_size: int) -> Parallel:
    """``auto`` is sharding with several processes, and pmap with several local devices.

    ValueError if the batch does not divide by the devices, or one process alone is asked for.
    """
    several = jax.process_count() > 1
    if several and mode not in ("auto", "sharding"):
        raise ValueError(
            f"`parallel` must be auto or sharding with several processes, got {mode!r}"
        )
    devices = jax.device_count()
    if mode == "jit" or (mode == "auto" and devices == 1):
        return Parallel("jit")
    if batch_size % devices:
        below, above = batch_size // devices * devices, -(-batch_size // devices) * devices
        raise ValueError(
            f"`batch_size` {batch_size} does not divide by the {devices} "
            f"{'' if several else 'local '}devices; use {f'{below} or ' if below else ''}{above}"
            + ("" if several else ", or --parallel jit")
        )
    return Parallel("sharding" if several or mode == "sharding" else "pmap", devices)
