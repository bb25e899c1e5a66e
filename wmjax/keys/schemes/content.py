"""`content`: source images with a text stamped on them (Zhang et al. 2018, WM_content; theirs is "TEST").

The text is drawn in a font of 3x5 cells with a cell between letters, each cell `scale` pixels a side. From
`mark/content` 0: top = integers(H - text height + 1, 1), left = integers(W - text width + 1, 1), then the colour:
bits = 1 + integers(2**C - 1, 1); channel c is 255 where bit c of it is set, else 0.
"""

from collections.abc import Sequence

import numpy as np

from wmjax.data.dataset import Dataset
from wmjax.errors import UsageError
from wmjax.keys.derive import Stream
from wmjax.keys.schemes.contract import Parameter, Scheme, required, source_rows, whole
from wmjax.keys.spec import Spec

# Five rows a letter, each an octal digit: 4 left, 2 middle, 1 right.
_FONT = {
    "A": "25755", "B": "65656", "C": "34443", "D": "65556", "E": "74647", "F": "74644", "G": "34553", "H": "55755",
    "I": "72227", "J": "11152", "K": "55655", "L": "44447", "M": "57755", "N": "65555", "O": "25552", "P": "65644",
    "Q": "25563", "R": "65655", "S": "34216", "T": "72222", "U": "55557", "V": "55552", "W": "55775", "X": "55255",
    "Y": "55222", "Z": "71247", "0": "75557", "1": "26227", "2": "71747", "3": "71317", "4": "55711", "5": "74717",
    "6": "74757", "7": "71122", "8": "75757", "9": "75717", " ": "00000",
}  # fmt: skip


def _default_text(image: tuple[int, int, int]) -> str:
    return "TEST"[: max(1, (image[1] + 1) // 4)]  # as many letters as fit


def _default_scale(image: tuple[int, int, int]) -> int:
    return max(1, image[1] * 3 // 4 // (4 * len(_default_text(image)) - 1))


def _legible(text: str) -> bool:
    return bool(text.strip()) and set(text) <= set(_FONT)


def _stencil(text: str, scale: int) -> np.ndarray:
    """Where the text is, bool [5 scale, (4 letters - 1) scale]."""
    rows = [[int(cell) for letter in text for cell in f"{int(_FONT[letter][row]):03b}0"] for row in range(5)]
    cells = np.array(rows, bool)[:, :-1]
    return cells.repeat(scale, axis=0).repeat(scale, axis=1)


def _draw(secret: bytes, spec: Spec, source: Dataset | None, at: Sequence[int]) -> np.ndarray:
    source = required(source)
    height, width, channels = spec.image
    text, scale = str(spec.parameter("text")), int(spec.parameter("scale"))
    tall, wide = 5 * scale, (4 * len(text) - 1) * scale
    if tall > height or wide > width:  # before it is drawn: a stranger's text may be of any length
        raise UsageError(f"`text` {text!r:.100} needs {tall}x{wide} pixels, images have {height}x{width}: shorten it")
    stencil = _stencil(text, scale)
    stream = Stream(secret, "mark/content", 0)
    top = int(stream.integers(height - stencil.shape[0] + 1, 1)[0])
    left = int(stream.integers(width - stencil.shape[1] + 1, 1)[0])
    bits = 1 + int(stream.integers(2**channels - 1, 1)[0])
    colour = np.array([255 * (bits >> c & 1) for c in range(channels)], np.uint8)
    images: np.ndarray = source.images[source_rows(secret, spec, source, at)].copy()
    images[:, top : top + stencil.shape[0], left : left + stencil.shape[1]][:, stencil] = colour
    return images


_LIMITS = "letters A-Z, digits and spaces, and not spaces alone"
SCHEME = Scheme(
    "content",
    needs_source=True,
    own_shape=True,
    draw=_draw,
    paper=True,
    stamp=True,
    parameters=(
        Parameter("text", str, "text to stamp (default TEST, cut to fit)", _default_text, _legible, _LIMITS),
        whole(
            "scale", "pixels a side of a letter's cell (default: three quarters of the width)", 1, 4096, _default_scale
        ),
    ),
)
