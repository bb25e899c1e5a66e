"""What fits on a device: where the data live, and which batch would have fitted."""

import os

import jax
import numpy as np

from wmjax.data.dataset import Examples

RESIDENT = 0.25  # share of a device's memory that a data set may take; the rest is for training


def device_bytes() -> int:
    """Memory of one device; devices that are the host's cores share the host's."""
    device = jax.local_devices()[0]
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit is None:
        limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // jax.local_device_count()
    return int(limit)


def fits_resident(examples: Examples) -> bool:
    """Whether a split may stay on the devices, whole on each."""
    return len(examples) * int(np.prod(examples.image)) <= RESIDENT * device_bytes()
