"""How one step body runs on many devices: the only file that knows.

Every device holds the network, the key and, where it fits, the data; a batch's rows are divided, and the body runs once
a device. `jit` takes global arrays with their shardings, `pmap` arrays with an axis of devices. Both give the same
numbers on any number of devices and processes, because all randomness follows from a row's place in the whole batch.

The body is mapped by hand (`shard_map`) and not left to the compiler's partitioner: that cannot see that the loops over
parts of a batch in `wmjax.kernels.conv` belong to one device, and moved their pieces between devices until they
deadlocked.

Many models at once are dealt to the devices, whole models to each: they have nothing to tell each other.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from wmjax.devices import on_cpu

AXIS = "data"
Kind = Literal["jit", "pmap"]


@dataclasses.dataclass(frozen=True)
class Mapping:
    """A one-axis mesh of devices and the way to run on it; hashable, so that programs can be cached by it.

    Attributes:
      mesh: all devices, of all processes, in the order of the batch's rows.
      kind: `jit` or `pmap`.
    """

    mesh: Mesh
    kind: Kind = "jit"

    @property
    def size(self) -> int:
        """Devices."""
        return self.mesh.size

    @property
    def axis(self) -> str | None:
        """The axis name that a body must reduce over; None where it sees the whole batch."""
        return AXIS if self.kind == "pmap" or self.size > 1 else None

    def rows(self, count: int) -> jax.Array:
        """Inside a body: where its `count` rows stand in the whole batch, int32 [count]."""
        here = jnp.arange(count)
        return here if self.axis is None else lax.axis_index(self.axis) * count + here

    def mean(self, tree: Any) -> Any:
        """Inside a body: the mean over devices of what each computed from its own rows."""
        return tree if self.axis is None else lax.pmean(tree, self.axis)

    def share(self, batch: int) -> slice:
        """Rows of a batch that this process feeds; processes' devices are neighbours in the mesh."""
        rows = batch // self.mesh.size
        mine = [i for i, device in enumerate(self.mesh.devices.flat) if device.process_index == jax.process_index()]
        return slice(mine[0] * rows, (mine[-1] + 1) * rows)

    def replicate(self, tree: Any) -> Any:
        """Host arrays, equal in every process, onto every device."""
        sharding = NamedSharding(self._local if self.kind == "pmap" else self.mesh, PartitionSpec())

        def place(leaf: Any) -> jax.Array:
            copies = [jax.device_put(np.asarray(leaf), device) for device in self._local.devices.flat]
            return jax.make_array_from_single_device_arrays(np.shape(leaf), sharding, copies)

        return jax.tree.map(place, tree)

    def divide(self, tree: Any) -> Any:
        """This process's rows, host arrays [steps, rows, ...], onto its devices."""
        local = list(self._local.devices.flat)
        pmap = self.kind == "pmap"
        sharding = NamedSharding(self._local if pmap else self.mesh, PartitionSpec(None, AXIS))

        def place(leaf: np.ndarray) -> jax.Array:
            if pmap:  # which takes the devices as an axis of their own
                leaf = leaf.reshape(leaf.shape[0], len(local), -1, *leaf.shape[2:])
            cut = zip(np.split(leaf, len(local), axis=1), local, strict=True)
            rows = leaf.shape[1] if pmap else leaf.shape[1] // len(local) * self.size
            parts = [jax.device_put(part, device) for part, device in cut]
            return jax.make_array_from_single_device_arrays((leaf.shape[0], rows, *leaf.shape[2:]), sharding, parts)

        return jax.tree.map(place, tree)

    def compile(self, body: Callable[..., Any], divided: int, donated: int = 0) -> Callable[..., Any]:
        """The program that runs `body` on all devices.

        Args:
          body: pure; every argument and result is the same on all devices but the divided argument.
          divided: position of the argument that came from `divide`.
          donated: position of the argument whose memory the results may take.
        """
        arity = body.__code__.co_argcount
        if self.kind == "pmap":
            axes = tuple(1 if i == divided else None for i in range(arity))
            devices = tuple(self.mesh.devices.flat)
            return jax.pmap(body, AXIS, in_axes=axes, out_axes=None, donate_argnums=donated, devices=devices)
        whole, rows = PartitionSpec(), PartitionSpec(None, AXIS)
        specs = tuple(rows if i == divided else whole for i in range(arity))
        shardings = tuple(NamedSharding(self.mesh, spec) for spec in specs)
        if self.size > 1:
            # unchecked: a checked one would hand over the gradients of replicated weights summed, and the mean that
            # `body` takes of them would change nothing
            body = jax.shard_map(body, mesh=self.mesh, in_specs=specs, out_specs=whole, check_vma=False)
        return jax.jit(
            body, in_shardings=shardings, out_shardings=NamedSharding(self.mesh, whole), donate_argnums=donated
        )

    def deal(self, tree: Any) -> Any:
        """Host arrays [models, ...] onto this process's devices, each of which gets as many models."""
        return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec(AXIS)))

    def compile_models(self, body: Callable[..., Any], dealt: tuple[int, ...], donated: int = 0) -> Callable[..., Any]:
        """The program that runs `body` for many models, each device for those that were dealt to it.

        On a CPU one model after another, because XLA's grouped convolutions are many times slower there; else all at
        once. Only for mappings over devices of this process.

        Args:
          body: pure, for one model; it must not reduce over devices.
          dealt: positions of the arguments that came from `deal`; results are dealt too.
          donated: position of the argument whose memory the results may take.
        """

        def models(*arguments: Any) -> Any:
            def one(own: list[Any]) -> Any:
                given = dict(zip(dealt, own, strict=True))
                return body(*(given.get(i, argument) for i, argument in enumerate(arguments)))

            own = [arguments[i] for i in dealt]
            return lax.map(one, own) if on_cpu() else jax.vmap(one)(own)

        whole, share = PartitionSpec(), PartitionSpec(AXIS)
        specs = tuple(share if i in dealt else whole for i in range(body.__code__.co_argcount))
        run = models
        if self.size > 1:
            run = jax.shard_map(models, mesh=self.mesh, in_specs=specs, out_specs=share, check_vma=False)
        shardings = tuple(NamedSharding(self.mesh, spec) for spec in specs)
        return jax.jit(
            run, in_shardings=shardings, out_shardings=NamedSharding(self.mesh, share), donate_argnums=donated
        )

    @property
    def _local(self) -> Mesh:
        mine = [device for device in self.mesh.devices.flat if device.process_index == jax.process_index()]
        return Mesh(np.array(mine), (AXIS,))


def all_devices(kind: Kind = "jit") -> Mapping:
    """Every device of every process."""
    return over(jax.devices(), kind)


def over(devices: list[jax.Device], kind: Kind = "jit") -> Mapping:
    """A mapping over chosen devices."""
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    return Mapping(Mesh(np.array(ordered), (AXIS,), axis_types=(AxisType.Auto,)), kind)


def divisible(batch: int, devices: int) -> int:
    """The batch size that is dealt out evenly: `batch`, or the next smaller multiple of `devices` that is not 0.

    >>> divisible(100, 8)
    96
    """
    return batch // devices * devices or batch
