"""What a provider is: how a kind of service is asked about pictures, and what its answers mean.

    address -> about -> forms -> Step(request, parse) -> what was said about a picture

A question is one picture, as its users ask. A provider knows no network: it makes requests and reads answers, and
`wire` carries them. One more is one file with a `Provider`, and one line in `providers`.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Request(NamedTuple):
    """What is sent; a GET where there is no body.

    Attributes:
      url: with no query that holds a secret.
      body: of a POST.
      kind: its Content-Type; empty for none.
    """

    url: str
    body: bytes | None = None
    kind: str = "application/json"


class Choice(NamedTuple):
    """One of the classes that a service names, and how sure it is; it may be silent about that.

    Attributes:
      label: the service's word or number for it.
      score: a probability; NaN where none is told.
    """

    label: str | int
    score: float = float("nan")


@dataclasses.dataclass(frozen=True, eq=False)
class Beside:
    """Scores, and beside them a class that is named: whoever reads one of them must not miss what the other says.

    Attributes:
      scores: of all classes in their order, float64 [A], or of the best ones.
      label: the service's word or number for the one that it answers.
    """

    scores: np.ndarray | tuple[Choice, ...]
    label: str | int

    @property
    def best(self) -> list[str | int]:
        """Which the scores say it is; several where they are equally good, none where one is not a number."""
        if isinstance(self.scores, np.ndarray):
            return [int(place) for place in np.flatnonzero(self.scores == self.scores.max())]
        scores = np.array([choice.score for choice in self.scores])
        return [choice.label for choice in self.scores if choice.score == scores.max()]


Said = np.ndarray | tuple[Choice, ...] | Beside
"""About one picture: scores of all classes in their order, float64 [A], or its best classes; none is a refusal."""


class Step(NamedTuple):
    """A request and how its answer is read.

    Attributes:
      request: what is sent.
      parse: the answer's bytes to what was said about the picture, or to the next step, where a service says first
        where its answer will lie. Raises `Malformed`.
    """

    request: Request
    parse: "Callable[[bytes], Said | Step]"


class Form(NamedTuple):
    """One way in which a service may take pictures.

    Attributes:
      picture: how they are told: `bytes`, `numbers`, `png` or `jpeg`.
      step: of a picture, uint8 [H, W, C].
      image: height, width and channels that it takes, where the service says so.
      reading: how pixels are prepared, a name of `pixels.PIXELS`; empty where that is the service's.
    """

    picture: str
    step: Callable[[np.ndarray], Step]
    image: tuple[int, int, int] | None = None
    reading: str = ""


class Declared(NamedTuple):
    """What the user says of a service.

    Attributes:
      image: height, width and channels of the pictures to ask about.
      classes: that the key is for.
      pixels: how pixels are prepared where numbers are sent; empty where nobody says it.
    """

    image: tuple[int, int, int]
    classes: int
    pixels: str = ""


@dataclasses.dataclass(frozen=True)
class Provider:
    """A kind of service.

    Attributes:
      scheme: before the `+` of an address.
      words: for lists and messages.
      about: where the service tells of itself, by its address; None where it does not.
      forms: in which it may take pictures, the best first: by address, what it told of itself, and what the user says.
        The first that it takes is kept. Raises `UsageError` where there is none.
      hint: what else may be said, where it takes none of them.
    """

    scheme: str
    words: str
    about: Callable[[str], Request | None]
    forms: Callable[[str, Any, Declared], Sequence[Form]]
    hint: str = ""


class Malformed(ValueError):
    """An answer is not what this kind of service answers.

    Attributes:
      came: what came in its place.
    """

    def __init__(self, message: str, came: object):
        super().__init__(message)
        self.came = came


def document(body: bytes) -> Any:
    """An answer's JSON.

    Raises:
      Malformed: it is none.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        shown = body[:200].decode(errors="replace")
        raise Malformed("it answers with no JSON: is this the address of the model itself?", shown) from error


def as_json(value: Any) -> bytes:
    """A request's JSON."""
    return json.dumps(value, separators=(",", ":")).encode()
