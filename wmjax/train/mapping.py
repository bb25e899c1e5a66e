"""How one training step runs on many devices; `zoo.score` and `models.predict` divide models and images themselves.

Every device holds the network, the key and, where it fits, the data; a batch's rows are divided, and the body runs once
a device. `jit` takes global arrays with their shardings, `pmap` arrays with an axis of devices. Both give the same
numbers on any number of devices and processes, because all randomness follows from a row's place in the whole batch.

The body is mapped by hand (`shard_map`) and not left to the compiler's partitioner: that cannot see that the loops over
parts of a batch in `wmjax.kernels.conv` belong to one device, and moved their pieces between devices until they
deadlocked.

Many models at once are dealt to the devices, whole models to each: they have nothing to tell each other.
"""

import dataclasses
from collections.abc import Callable, Set
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from wmjax.devices import brief_options, on_cpu

AXIS = "data"
Kind = Literal["jit", "pmap"]
Body = Callable[[Any, Any], Any]  # what a state and inputs, a NamedTuple, become


@dataclasses.dataclass(frozen=True)
class DeviceMapping:
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

    def compile(self, body: Body, inputs: type[NamedTuple], divided: str) -> Body:
        """The program that runs `body(state, inputs)` on all devices; its results may take the memory of `state`.

        Args:
          body: pure; state, inputs and results are the same on all devices but the divided field of the inputs.
          inputs: their type.
          divided: the field that came from `divide`.
        """
        if self.kind == "pmap":
            axes = (None, _by_field(inputs, None, {divided}, 1))
            devices = tuple(self.mesh.devices.flat)
            return jax.pmap(body, AXIS, in_axes=axes, out_axes=None, donate_argnums=0, devices=devices)
        whole, rows = PartitionSpec(), PartitionSpec(None, AXIS)
        specs = (whole, _by_field(inputs, whole, {divided}, rows))
        if self.size > 1:
            # unchecked: a checked one would hand over the gradients of replicated weights summed, and the mean that
            # `body` takes of them would change nothing
            body = jax.shard_map(body, mesh=self.mesh, in_specs=specs, out_specs=whole, check_vma=False)
        return self._jit(body, specs, whole)

    def deal(self, tree: Any) -> Any:
        """Host arrays [models, ...] onto this process's devices, each of which gets as many models."""
        return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec(AXIS)))

    def compile_models(self, body: Body, inputs: type[NamedTuple], shared: Set[str]) -> Body:
        """The program that runs `body(state, inputs)` for many models, each device for those that were dealt to it.

        On a CPU one model after another, because XLA's grouped convolutions are many times slower there; else all at
        once. Results are dealt too, and may take the memory of `state`. Only for mappings over devices of this process.

        Args:
          body: pure, for one model; it must not reduce over devices.
          inputs: their type.
          shared: the fields that all models see, from `replicate`; state and other fields came from `deal`.
        """

        def models(state: Any, given: Any) -> Any:
            seen_by_all = {name: getattr(given, name) for name in shared}

            def one(own: tuple[Any, Any]) -> Any:
                return body(own[0], own[1]._replace(**seen_by_all))

            own = (state, given._replace(**dict.fromkeys(shared)))
            return lax.map(one, own) if on_cpu() else jax.vmap(one)(own)

        whole, share = PartitionSpec(), PartitionSpec(AXIS)
        specs = (share, _by_field(inputs, share, shared, whole))
        run: Body = models
        if self.size > 1:
            run = jax.shard_map(models, mesh=self.mesh, in_specs=specs, out_specs=share, check_vma=False)
        return self._jit(run, specs, share)

    def _jit(self, body: Body, specs: tuple[Any, Any], out: PartitionSpec) -> Body:
        given, returned = jax.tree.map(lambda spec: NamedSharding(self.mesh, spec), (specs, out))
        told = brief_options()
        return jax.jit(body, in_shardings=given, out_shardings=returned, donate_argnums=0, compiler_options=told)

    @property
    def _local(self) -> Mesh:
        mine = [device for device in self.mesh.devices.flat if device.process_index == jax.process_index()]
        return Mesh(np.array(mine), (AXIS,))


def _by_field(inputs: type[NamedTuple], usual: Any, chosen: Set[str], other: Any) -> Any:
    """`inputs` with one value in every field, and another in the chosen ones; raises where it has no such field."""
    return inputs._make([usual] * len(inputs._fields))._replace(**dict.fromkeys(chosen, other))


def all_devices(kind: Kind = "jit") -> DeviceMapping:
    """A mapping over every device of every process.

    Example:

        wmjax.embed("run", config, recipe, splits, mapping=wmjax.all_devices("pmap"))

    Args:
      kind: `jit` or `pmap`.
    """
    return over(jax.devices(), kind)


def over(devices: list[jax.Device], kind: Kind = "jit") -> DeviceMapping:
    """A mapping over chosen devices."""
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    return DeviceMapping(Mesh(np.array(ordered), (AXIS,), axis_types=(AxisType.Auto,)), kind)


def divisible(batch: int, devices: int) -> int:
    """The batch size that is dealt out evenly: `batch`, or the next smaller multiple of `devices` that is not 0.

    >>> divisible(100, 8)
    96
    """
    return batch // devices * devices or batch
