"""What a suspect is, whatever answers, and what the networks of many models share. No JAX in here."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from wmjax.errors import UsageError
from wmjax.grounds import Ground
from wmjax.keys import Model, Spec
from wmjax.suspects.adapt import adaptation
from wmjax.suspects.grounds import asked_as
from wmjax.suspects.ways import outputs_of

if TYPE_CHECKING:
    from jax import Array

TIMEOUT = 60.0  # seconds for an answer; a service that wakes up takes half of them
Image = tuple[int, int, int]  # height, width and channels
Weights = dict[str, Any]  # a model's tensors by name, "params/convs/0/kernel"; of n models stacked, [n, ...] each


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What files do not say of themselves, and the user or the keys do.

    >>> Wanted(models=("cnn",), images=((8, 8, 1),)).classes
    ()

    Attributes:
      models: architectures that bare weights may be of: names of wmjax's families, `timm:NAME`, `torchvision:NAME` or
        `module:factory`.
      images: height, width and channels of the keys' images, which those may take.
      classes: that the keys are for.
      pixels: how pixels are prepared, a name of `pixels.PIXELS`; `stated`: as files say, where they do; empty: in any
        way that is usual or stated.
      pickles: whether PyTorch's pickles are opened, in processes that may do nothing else; they may hold tensors alone.
      labels: a service's words for its classes, in the order of the owner's numbers; empty where they are not known.
      kept: whether sets of weights are meant, too, that are called as an optimiser's: where one is named.
      token: that a service wants to see; it is sent there, and written nowhere.
    """

    models: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()
    classes: tuple[int, ...] = ()
    pixels: str = ""
    pickles: bool = False
    labels: tuple[str, ...] = ()
    kept: bool = False
    token: str = dataclasses.field(default="", repr=False)

    @classmethod
    def by(
        cls,
        specs: Iterable[Spec],
        models: Sequence[str] = (),
        pixels: str = "",
        *,
        pickles: bool = False,
        labels: Sequence[str] = (),
    ) -> "Wanted":
        """What keys ask about; each image and number of classes once, in the keys' order."""
        specs = list(specs)
        images, classes = dict.fromkeys(spec.image for spec in specs), dict.fromkeys(spec.classes for spec in specs)
        return cls(tuple(models), tuple(images), tuple(classes), pixels, pickles, tuple(labels))


NOTHING = Wanted()  # files say all


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """What the models of a family share: a pure function, and the shapes of its weights.

    Attributes:
      name: as tables show it, `cnn 32x32x3`.
      fingerprint: hex digest of architecture and shapes; models with the same one are of one family.
      shapes: of its tensors by name, `jax.ShapeDtypeStruct`s, in sorted order.
      logits: (weights, uint8 images [n, H, W, C], reading int32 []) to float32 [n, classes]; pure, for `jit` and
        `vmap`. The reading is a place in `readings`, 0 where it is left out.
      image: height, width and channels that it takes.
      classes: outputs.
      largest: bytes of the largest value on the way from one image to its answer.
      readings: names of the ways in which it may be meant to be asked: how pixels are prepared, and which output holds
        the scores; a single empty one where there is no doubt.
      note: code of what a verdict must say of how it is asked, an `AskedGround`; empty for wmjax's own.
      description: what `pack` stores so that the network can be made again: `{"config": ...}`, or
        `{"module": "m:f", "image": [h, w, c]}`, `{"onnx": ...}`; None where it cannot.
      askable: whom to ask instead, where there are no weights: the only one of its family, at hand (with `readings` of
        its own) or at the other end of a call; None elsewhere.
      operations: convolutions and products of matrices in it, where they were counted: what it takes to compile.
      only: shapes of the keys' images that it is asked about, where another network of the same weights is asked about
        the others; empty: about all.
    """

    name: str
    fingerprint: str
    shapes: dict[str, Any]
    logits: "Callable[..., Array]"
    image: tuple[int, int, int]
    classes: int
    largest: int = 0
    readings: tuple[str, ...] = ("",)
    note: str = ""
    description: dict[str, Any] | None = None
    askable: "Askable | None" = None
    operations: int = 0
    only: tuple[Image, ...] = ()

    @cached_property
    def bytes(self) -> int:
        """Of one model's weights."""
        return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in self.shapes.values())


class Source(Protocol):
    """A file or folder that holds one model, or the rows of a packed family."""

    def read(self, start: int, stop: int, out: Weights) -> None:
        """Fills `out[name][: stop - start]` with the models of rows `start` to `stop`.

        Called from several threads at once. Raises `AccessError` or `InvalidFile` in one line.
        """


@runtime_checkable
class Runs(Protocol):
    """A source whose one model can also be run, as its users run it."""

    def askable(self, network: Network) -> "Askable":
        """It, run by its own library in another process, by the readings of its network.

        Raises:
          WmjaxError: it is not run so, or by other readings.
        """


class NoWeights:
    """The `Source` of a suspect that can only be asked."""

    def read(self, start: int, stop: int, out: Weights) -> None:
        """Reads nothing: there is nothing to fill."""


def no_logits(weights: Weights, images: Any, reading: Any = 0) -> Any:
    """The `logits` of a suspect that can only be asked: raises NotImplementedError."""
    raise NotImplementedError("it has no weights: it is asked")


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """A model that lies in files.

    Attributes:
      network: its family's.
      source: where its tensors are.
      path: its file, or the folder of its checkpoint.
      held: the file or folder whose change means other weights.
      name: within a pack, or of its set of weights and its size; empty for the only model of a path.
      row: in the source; 0 for a model of its own.
      digest: of its weights as `pack` recorded it; empty where none was.
      parts: other files that hold some of its weights.
      class_names: as its files call them, in the order of scores; empty where they do not.
      passed: sets of weights at its path that are taken for an optimiser's, and not asked.
      left: what is beside the models of its path and may be another one, in words; empty where nothing does.
    """

    network: Network
    source: Source
    path: Path
    held: Path
    name: str = ""
    row: int = 0
    digest: str = ""
    parts: tuple[Path, ...] = ()
    class_names: tuple[str, ...] = ()
    passed: int = 0
    left: str = ""


class Seen(NamedTuple):
    """What was seen of one try to ask a suspect behind a network.

    Attributes:
      at: when it began, UTC, as a claim's transcript has it.
      detail: address, digests of request and answer, status, and what else matters; nothing secret.
    """

    at: str
    detail: dict[str, str]


class Watched(Protocol):
    """A suspect whose questions can be watched on their way."""

    def seen(self) -> Sequence[Seen]:
        """What was seen at the last question of this thread, an item a try; an answer came with the last one only."""

    def seconds(self, questions: int) -> float | None:
        """How long questions take by its rate limit; None where it told none."""

    def check(self) -> None:
        """Raises `GoneError` where it answers a plain picture no more as it did before the first question."""

    def rest(self) -> None:
        """Ends its connections until it is asked again."""


@dataclasses.dataclass(frozen=True)
class Suspect:
    """A model behind its ordinary prediction interface.

    Attributes:
      name: as shown in verdicts.
      ask: maps uint8 images [n, H, W, C] to class labels, int [n], to names of classes, text [n], or to scores, float
        [n, classes] (a service that scores its k best classes alone: through `stats.spread_top_k`).
      image: height, width and channels it takes, where known.
      classes: that it tells apart, where known.
      describe: its name and digests, where it lies in files at hand.
      note: code of what a verdict must say of how it is asked, as of `Network`.
      remembers: whether it may know later what it was asked: not so where its weights are at hand.
      reading: by which of its readings it is asked; empty where there is no doubt.
      readings: itself by each of them, where there are several; itself is the first.
      class_names: as its files call them, in the order of scores; empty where they do not.
      wire: what is seen on the way to it; None of a suspect on this machine.
    """

    name: str
    ask: Callable[[np.ndarray], Any]
    image: tuple[int, int, int] | None = None
    classes: int | None = None
    describe: Callable[[], Model] | None = None
    note: str = ""
    remembers: bool = True
    reading: str = ""
    readings: "tuple[Suspect, ...]" = ()
    class_names: tuple[str, ...] = ()
    wire: Watched | None = None

    def grounds(self, image: tuple[int, int, int]) -> tuple[Ground, ...]:
        """What a verdict must say of how it is asked about a key's images of this shape."""
        noted = asked_as(self.note, [each.reading for each in self.asked])
        return (*noted, *((self.image and adaptation(image, self.image)) or ()))

    @property
    def alone(self) -> bool:
        """Whether it is asked about each image in a call of its own: a function that may know later what it was asked.

        Whoever asks about many in one is known by that, and told what a stranger says. (A service sees to it itself.)
        """
        return self.remembers and self.wire is None

    @property
    def asked(self) -> "tuple[Suspect, ...]":
        """Itself by each of its readings, one at least."""
        return self.readings or (self,)

    @property
    def outputs(self) -> int:
        """How many of its outputs its readings are of."""
        return outputs_of([each.reading for each in self.asked])

    @classmethod
    def of(cls, readings: "Sequence[Suspect]") -> "Suspect":
        """The suspect whose readings these are, one at least."""
        return dataclasses.replace(readings[0], readings=tuple(readings)) if len(readings) > 1 else readings[0]

    def read(self, reading: str) -> "Suspect":
        """Itself by one reading; raises `UsageError` where it has no such one."""
        for each in self.asked:
            if each.reading == reading:
                return each
        known = ", ".join(each.reading for each in self.asked)
        raise UsageError(f"suspect {self.name} cannot be asked as {reading!r:.80}, only as {known or 'it is'}")


@dataclasses.dataclass(frozen=True)
class Askable:
    """A suspect that has no weights to be stacked: it is asked, image by image.

    Attributes:
      suspect: whom; its image and classes are known.
      called: as `wmjax verify` calls it, by which it is remembered what it was shown; the suspect's name where empty.
      timeout: seconds that an answer may take.
      concurrency: calls at once.
      most: questions in a run, where they are bounded.
    """

    suspect: Suspect
    timeout: float = TIMEOUT
    concurrency: int = 1
    called: str = ""
    most: int | None = None
