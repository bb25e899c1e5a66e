"""Image-classification data as uint8, in memory or read as they are needed; no JAX here but in `batches`."""

from wmjax.data.dataset import Dataset, Examples, Splits, keep, read, share_bounds
from wmjax.data.source import load, load_source, open_splits
from wmjax.data.stream import stream

__all__ = [
    "Dataset",
    "Examples",
    "Splits",
    "keep",
    "load",
    "load_source",
    "open_splits",
    "read",
    "share_bounds",
    "stream",
]
