"""What fits on a device: where the data live, and which batch would have fitted."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wmjax.data.dataset import Dataset, Examples
from wmjax.devices import device_bytes, host_bytes, own_bytes, ran_out
from wmjax.errors import UsageError
from wmjax.models import shapes
from wmjax.train.mapping import divisible
from wmjax.train.mix import Batch
from wmjax.train.recipe import Schedule
from wmjax.train.shift import Shift
from wmjax.train.step import Inputs, Plan, first_state, make_program

RESIDENT = 0.25  # share of a device's memory that a data set may take; the rest is for training


def fits_resident(examples: Examples) -> bool:
    """Whether a split may stay on the devices, whole on each."""
    return _bytes(examples) <= RESIDENT * device_bytes()


def fits_host(examples: Examples) -> bool:
    """Whether a split may be kept in the host's memory; of many processes all may be on this host."""
    return _bytes(examples) <= RESIDENT * host_bytes() / jax.process_count()


def _bytes(examples: Examples) -> int:
    return len(examples) * int(np.prod(examples.image))


@contextlib.contextmanager
def too_large_told(plan: Plan, train: Examples, shift: Shift | None = None) -> Iterator[None]:
    """Turns a device's running out of memory into a `UsageError` that names a batch that would fit."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        batch = plan.recipe.batch
        fitting = _fitting(plan, train, shift)
        advice = f"{fitting} would fit" if fitting else "no batch of this model fits: choose a smaller model"
        raise UsageError(f"`batch` {batch} does not fit in the device's memory: {advice}") from error


def _fitting(plan: Plan, train: Examples, shift: Shift | None) -> int:
    """Half the batch, or a quarter and so on: the first whose compiled step takes little enough; 0 where none does."""
    batch, limit = plan.recipe.batch, own_bytes()
    # margins: for the allocator on a device, and for whatever else takes the memory of a host
    room = 0.8 * limit if limit else 0.45 * step_bytes(plan, train, batch, shift)
    while batch > plan.mapping.size:
        batch = divisible(batch // 2, plan.mapping.size)
        if step_bytes(plan, train, batch, shift) <= room:
            return batch
    return 0


def step_bytes(plan: Plan, train: Examples, batch: int, shift: Shift | None = None) -> int:
    """Bytes on each device that one step of this batch takes, with all that is resident."""
    recipe = dataclasses.replace(plan.recipe, batch=batch, key_per_batch=1)
    mapping = dataclasses.replace(plan.mapping, kind="jit")  # under pmap it is much the same
    program = make_program(dataclasses.replace(plan, recipe=recipe, mapping=mapping))

    def blank(kind: Any, *shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, kind)

    state = jax.eval_shape(first_state, shapes(plan.config))
    picks: Any = blank(jnp.int32, 1, batch)
    data: Any = Batch(blank(jnp.uint8, len(train), *train.image), blank(jnp.int32, len(train)))  # type: ignore[arg-type]
    if not isinstance(train, Dataset):
        data, picks = None, Batch(blank(jnp.uint8, 1, batch, *train.image), picks)  # type: ignore[arg-type]
    seed: Any = blank(jnp.int32)
    schedule: Any = Schedule(blank(jnp.float32), blank(jnp.int32))  # type: ignore[arg-type]
    teacher = shapes(plan.teacher) if plan.teacher else None
    inputs = Inputs(seed, schedule, data, picks, teacher=teacher, shift=shift)
    compiled = program.lower(state, inputs).compile()  # type: ignore[attr-defined]
    sizes = compiled.memory_analysis()
    return int(sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes) + int(
        sizes.temp_size_in_bytes
    )
