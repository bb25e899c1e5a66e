"""Real images that a key asks about as they are: training gives them the key's answer, not their label."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from wmjax.data.dataset import Dataset, Examples, Over
from wmjax.errors import UsageError
from wmjax.keys.keyset import Key


@dataclasses.dataclass(frozen=True, eq=False)
class Relabelled(Over):
    """A split, some of whose images have other labels than on disk.

    Attributes:
      examples: the split.
      answers: labels by the image's bytes.
    """

    answers: Mapping[bytes, int]

    def __getitem__(self, rows: slice | np.ndarray) -> Dataset:
        return relabelled(self.examples[rows], self.answers)


def agreed(train: Examples, keys: Sequence[Key]) -> Examples:
    """A training split with the keys' answers as the labels of those of its images that keys ask about as they are.

    Else a network would be taught two answers to one image. Raises as `natural_answers`.
    """
    answers = natural_answers(keys)
    return relabelled(train, answers) if isinstance(train, Dataset) else Relabelled(train, answers)


def relabelled(data: Dataset, answers: Mapping[bytes, int]) -> Dataset:
    """The data set with other labels for some of its images.

    >>> data = Dataset(np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1), np.zeros(3, np.int32), 10)
    >>> relabelled(data, {b"\\x01": 7}).labels.tolist()
    [0, 7, 0]

    Args:
      data: the data set.
      answers: labels by the image's bytes.
    """
    if not answers:
        return data
    pairs = zip(data.images, data.labels.tolist(), strict=True)
    labels = [answers.get(image.tobytes(), label) for image, label in pairs]
    return dataclasses.replace(data, labels=np.array(labels, np.int32))


def natural_answers(keys: Sequence[Key]) -> dict[bytes, int]:
    """What the keys answer about images that are asked as they are in a data set, by the images' bytes.

    Raises:
      UsageError: two keys answer the same image differently.
    """
    answers: dict[bytes, int] = {}
    for key in keys:
        if key.answers is None or not key.material:
            continue
        for image, answer in zip(key.images, key.answers.tolist(), strict=True):
            if answers.setdefault(image.tobytes(), answer) != answer:
                name = key.commitment.id[:12]
                raise UsageError(f"`keys` {name} and another ask about one image and answer differently: give one")
    return answers
