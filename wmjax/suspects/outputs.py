"""Which of a module's outputs hold scores: it may return an array, a pair of one and a dictionary, or anything else."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from wmjax.errors import InvalidFile
from wmjax.suspects.adapt import same_task

_MOST = 100  # outputs of a file; a small one could have thousands, and take hours


class Output(NamedTuple):
    """An output that may be a classifier's.

    Attributes:
      name: the way to it in what the module returns, as `1/logits`.
      place: among all arrays of that.
      classes: scores an image.
    """

    name: str
    place: int
    classes: int


def with_scores(program: Any, answer: Any) -> list[Output]:
    """The outputs [1, classes], or [1, 1, 1, classes] or [1, classes, 1, 1]; one that is returned twice, once.

    Args:
      program: the Jaxpr of the answer to one image.
      answer: its shapes and dtypes, as the module returns them.
    """
    found, seen = [], set[int]()
    for place, (path, leaf) in enumerate(jax.tree_util.tree_leaves_with_path(answer)):
        classes, value = _classes(leaf), id(program.outvars[place])
        if classes and value not in seen:
            seen.add(value)
            found.append(Output(jax.tree_util.keystr(path, simple=True, separator="/"), place, classes))
    return found


def _classes(leaf: Any) -> int:
    """Scores of one image in an array of its; 0 where it holds none."""
    sizes = sorted(leaf.shape)
    plain = len(sizes) == 2 or (len(sizes) == 4 and 1 in (leaf.shape[1], leaf.shape[3]) and leaf.shape[2] == 1)
    alone = sizes[:-1] == [1] * (len(sizes) - 1) and leaf.shape[:1] == (1,)
    return leaf.size if plain and alone and leaf.size > 1 and jnp.issubdtype(leaf.dtype, jnp.floating) else 0


def pick(answer: Any, outputs: Sequence[Output], number: Array | int) -> Array:
    """The scores [n, classes] of one of some outputs, which have equally many.

    Args:
      answer: what the module returned.
      outputs: of these.
      number: int32 [], which; it may be traced.
    """
    leaves = jax.tree.leaves(answer)
    scores = [leaves[out.place].reshape(-1, out.classes).astype(jnp.float32) for out in outputs]
    return scores[0] if len(scores) == 1 else jnp.stack(scores)[number]


def by_classes(outputs: Sequence[Output], wanted: Sequence[int]) -> Mapping[int, list[Output]]:
    """The outputs by how many classes they have: only those that keys apply to, where there are any, the exact first.

    An output with a key's number of classes says nothing against another one: that may be all that it is there for.

    >>> outputs = [Output("features", 0, 64), Output("logits", 1, 12), Output("aux", 2, 10)]
    >>> list(by_classes(outputs, [10])), list(by_classes(outputs, [1000]))
    ([10, 12], [64, 12, 10])
    """
    groups: dict[int, list[Output]] = {}
    for out in outputs:
        groups.setdefault(out.classes, []).append(out)
    near = sorted(classes for classes in groups if any(same_task(classes, ours) for ours in wanted))
    meant = dict.fromkeys([*wanted, *(classes + 1 for classes in wanted), *near])
    return {classes: groups[classes] for classes in meant if classes in groups} or groups


def leaves_out(found: Sequence[Output], every: int, classes: int, wanted: Sequence[int]) -> bool:
    """Whether somebody who asks for so many classes leaves out an output of the file, where a copy may answer.

    >>> found = [Output("features", 0, 64), Output("logits", 1, 10)]
    >>> leaves_out(found, 2, 10, [10]), leaves_out(found[1:], 1, 10, [10, 100]), leaves_out(found[1:], 2, 10, [])
    (True, False, True)

    Args:
      found: its outputs that may be a classifier's.
      every: how many outputs it has.
      classes: of those that are asked.
      wanted: numbers of classes that keys are for; about each that applies to `classes` all outputs must be asked.
    """
    keys = [ours for ours in wanted if same_task(classes, ours)]
    asked = [{out.place for out in found if same_task(out.classes, ours)} for ours in keys]
    return any(len(places) < every for places in [*asked, {out.place for out in found}])


def numbered(counts: Mapping[int, int], wanted: Sequence[int] = ()) -> list[Output]:
    """Outputs without names, called by their numbers from 1.

    One with a single number an image, beside scores, may tell the class itself: it is taken for as many as those have,
    or as are wanted. A copy could have its answers there alone, and scores of no worth beside them.

    >>> numbered({2: 10}), [out.classes for out in numbered({0: 1, 1: 12}, [10])], numbered({0: 1}, [10])
    ([Output(name='3', place=2, classes=10)], [10, 12], [])

    Args:
      counts: numbers an image by place.
      wanted: numbers of classes.

    Raises:
      InvalidFile: they are too many to be asked: each is a reading, in each way to prepare pixels.
    """
    if len(counts) > _MOST:
        raise InvalidFile(f"{len(counts)} of its outputs may be scores: more than {_MOST} are not asked")
    told = dict.fromkeys(count for count in counts.values() if count > 1)
    meant = [count for count in wanted if count in told] or list(wanted or told) if told else []
    return [
        Output(str(place + 1), place, classes)
        for place, count in counts.items()
        for classes in ([count] if count > 1 else meant)
    ]


def told(numbers: np.ndarray, classes: int) -> np.ndarray:
    """Scores of an output that tells the class itself, which may be turned round; no numbers where it tells none.

    >>> told(np.array([[-1.0], [7.0]]), 3).tolist()
    [[0.0, 1.0, 0.0], [nan, nan, nan]]
    """
    is_told = np.abs(np.rint(numbers)) == np.arange(classes)
    return np.where(is_told.any(1, keepdims=True), is_told, np.nan).astype(np.float32)
