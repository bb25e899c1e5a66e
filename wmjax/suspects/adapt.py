"""Asking a model about a key that was made for images of another shape."""

import numpy as np
from PIL import Image

from wmjax.grounds import Ground
from wmjax.stats import Answers, may_hide
from wmjax.suspects.grounds import AskedGround
from wmjax.text import by

Shape = tuple[int, int, int]


def adaptation(theirs: Shape, ours: Shape) -> tuple[Ground, ...] | None:
    """What must be said where triggers of shape `theirs` become images of shape `ours`; None where they cannot.

    The bound on false matches holds however images are changed: labels are independent of them. Whether a mark
    survives the change is another matter, so the verdict says what was done.

    >>> adaptation((8, 8, 1), (8, 8, 1))
    ()
    >>> adaptation((8, 8, 1), (32, 32, 3))[0].to_json()
    {'code': 'adapted', 'from': '8x8x1', 'to': '32x32x3'}
    >>> adaptation((8, 8, 1), (8, 8, 3))[0].code
    <AskedGround.COLOURED: 'coloured'>
    """
    if theirs == ours:
        return ()
    if not {theirs[2], ours[2]} <= {1, 3}:  # no picture that can be resized
        return None
    code = AskedGround.COLOURED if (*theirs[:2], 3) == ours else AskedGround.ADAPTED
    return (Ground(code, {"from": by(theirs), "to": by(ours)}),)


def same_task(theirs: int, ours: int) -> bool:
    """Whether who tells `theirs` classes apart is asked about a key for `ours`: half to twice as many, or a background.

    Whoever steals a network may merge, drop or add some.

    >>> [theirs for theirs in range(30) if same_task(theirs, 10)] == list(range(5, 22))
    True
    """
    return ours <= 2 * theirs <= 4 * ours + 2


def other_classes(theirs: int, ours: int) -> tuple[Ground, ...]:
    """What must be said where a suspect tells `theirs` classes apart, and the key is for `ours`.

    >>> other_classes(1001, 1000)[0].to_json()
    {'code': 'other-classes', 'theirs': 1001, 'ours': 1000}
    """
    if theirs == ours:
        return ()
    code = AskedGround.MORE_CLASSES if may_hide(theirs, ours) else AskedGround.OTHER_CLASSES
    return (Ground(code, {"theirs": theirs, "ours": ours}),)


def naming(answers: Answers) -> tuple[Ground, ...]:
    """What must be said of answers [n] that are not all about the key's classes."""
    most = max(answers.scores, answers.classes)
    names = np.unique(answers.labels[answers.labels >= most])
    found = (Ground(AskedGround.OTHER_NAMES, {"names": len(names)}),) if len(names) else ()
    return (*other_classes(answers.scores or answers.classes, answers.classes), *found)


def adapt(images: np.ndarray, shape: Shape) -> np.ndarray:
    """Triggers as images of another shape: bilinear in size, luminance (ITU-R 601) or three equal channels in colour.

    Args:
      images: uint8 [n, H, W, C].
      shape: for which `adaptation` is not None.
    """
    if images.shape[1:] == shape:
        return images
    mode = "L" if shape[2] == 1 else "RGB"
    fitted = np.empty((len(images), *shape), np.uint8)
    for row, image in zip(fitted, images, strict=True):
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        resized = picture.convert(mode).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
        row[:] = np.asarray(resized).reshape(shape)
    return fitted
