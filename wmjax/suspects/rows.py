"""Models that take pictures as rows of numbers, as scikit-learn's do and the first networks of tutorials.

What a row is meant to hold nobody says. It may be what the first half of a network made of a picture: the second half,
a copy's too, would answer like a stranger. So nobody is cleared who takes one.
"""

import math

from wmjax.suspects.contract import Image

_SMALLEST = 8  # pixels of a square picture's side: shorter rows are tables', four measures of a flower


def picture(numbers: int, image: Image) -> Image | None:
    """The picture that a row of so many numbers may be: a key's, the same in grey or in colour, or a square one.

    >>> picture(64, (8, 8, 1)), picture(3072, (32, 32, 1)), picture(784, (32, 32, 3)), picture(13, (8, 8, 1))
    ((8, 8, 1), (32, 32, 3), (28, 28, 1), None)

    Args:
      numbers: in a row.
      image: height, width and channels of a key's images.
    """
    height, width, channels = image
    grey, colour = math.isqrt(numbers), math.isqrt(numbers // 3)
    squares = [one for one in ((grey, grey, 1), (colour, colour, 3)) if one[0] >= _SMALLEST]
    may = [image, (height, width, 4 - channels), *squares]
    return next((one for one in may if one[2] in (1, 3) and math.prod(one) == numbers), None)
