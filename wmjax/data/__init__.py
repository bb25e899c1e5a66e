"""Image-classification data, whole sets in memory as uint8; no JAX here but in `batches`."""

from wmjax.data.dataset import Dataset, Splits, digest
from wmjax.data.source import load, load_source

__all__ = ["Dataset", "Splits", "digest", "load", "load_source"]
