"""Image-classification data, whole sets in memory as uint8; no JAX here but in `batches`."""

from wmjax.data.dataset import Dataset, Splits, digest
from wmjax.data.source import load

__all__ = ["Dataset", "Splits", "digest", "load"]
