"""A key in the owner's hands: its secret, and the triggers that follow from it."""

import dataclasses
import datetime
import secrets
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from wmjax.data.dataset import Dataset
from wmjax.errors import InvalidFile, UsageError
from wmjax.keys.commitment import Commitment, Leaf, leaf_of, merkle_root
from wmjax.keys.derive import SECRET_BYTES, Stream
from wmjax.keys.material import Material
from wmjax.keys.pledge import Pledge
from wmjax.keys.policies import Known
from wmjax.keys.spec import Spec
from wmjax.keys.specify import check_against_scheme, default_rule, is_made_from, scheme_of
from wmjax.progress import progress
from wmjax.stats import Rule, kind_of, play
from wmjax.stats.contract import Truth
from wmjax.text import by

_PORTION = 1 << 22  # bytes of images that are made at once: thousands of large ones take half a minute


@dataclasses.dataclass(frozen=True, eq=False)
class Key:
    """A watermark key.

    Attributes:
      secret: 32 bytes; never printed.
      commitment: its public half.
      images: the trigger set, uint8 [triggers, H, W, C].
      labels: what the Merkle tree holds of each trigger, int32 [triggers]: mostly what a marked model answers.
      spent: triggers that were asked in a claim: whoever runs that suspect has seen them, so no claim asks them again.
      material: what was fixed before its coins; None for keys of labels alone.
      embedding: what only the owner needs to have a network learn the coins (`wmjax.train.shift`).
      pledge: the time stamp that the secret follows from; None where it was drawn.
      sealed: bytes of the key file that it was opened from, never printed: what a checkpoint carries. None for a key
        that was not opened from a file.
    """

    secret: bytes = dataclasses.field(repr=False)
    commitment: Commitment
    images: np.ndarray = dataclasses.field(repr=False)
    labels: np.ndarray = dataclasses.field(repr=False)
    spent: frozenset[int] = frozenset()
    material: Material | None = None
    embedding: Material | None = dataclasses.field(default=None, repr=False)
    pledge: Pledge | None = dataclasses.field(default=None, repr=False)
    sealed: bytes | None = dataclasses.field(default=None, repr=False)

    @property
    def spec(self) -> Spec:
        return self.commitment.spec

    @property
    def mixed(self) -> bool:
        """Whether training mixes the triggers into its batches; where not, they are only asked."""
        return self.spec.policy.answers is not None

    @property
    def mirrored(self) -> bool:
        """Whether a training that mirrors real images mirrors the triggers too."""
        return scheme_of(self.spec.scheme).mirrored

    def truth(self, rows: slice | np.ndarray) -> Truth:
        """What the secret says about some triggers, for the key's kind of evidence: mostly their labels."""
        return self.spec.policy.truth(self._known(rows))

    def _known(self, rows: slice | np.ndarray) -> Known:
        numbers = np.arange(self.spec.triggers)[rows]
        return Known(self.spec, numbers, self.labels[rows], self.secret, self.material)

    @property
    def answers(self) -> np.ndarray | None:
        """What a marked model answers about the triggers, int32 [triggers]; None where they are not mixed in."""
        answers = self.spec.policy.answers
        return None if answers is None else answers(self._known(slice(None)))

    @property
    def most_bits(self) -> float:
        """Evidence that a model gives which answers exactly as the secret says; 0 where no policy gives any."""
        rows, kind = slice(limit(self)), kind_of(self.commitment.rule)
        truth = self.truth(rows)
        return float(play(self.commitment.rule, kind.perfect(truth, self.spec.classes), truth).peak[-1])


def limit(key: Key, most: int | None = None) -> int:
    """How many triggers may be asked: as the committed rule and the key have it, and the user.

    Raises:
      UsageError: the user wants none.
    """
    if most is not None and most < 1:
        raise UsageError("`max_queries` must be 1 at least")
    known = key.commitment.limit
    return known if most is None else min(known, most)


def generate(
    spec: Spec, source: Dataset | None = None, *, alpha: float = 1e-6, material: Material | None = None
) -> Key:
    """Draws a fresh secret and derives its key.

    >>> import wmjax
    >>> spec = wmjax.make_spec("abstract", image=(8, 8, 1), classes=10, triggers=20)
    >>> generate(spec).images.shape
    (20, 8, 8, 1)

    Args:
      spec: what to derive, as from `make_spec`.
      source: the training split that the spec's images start from, if they start from one.
      alpha: the bound on false matches to commit to, between 0 and 1.
      material: the one that the spec names.

    Returns:
      A key in memory alone; `write_key` keeps it.

    Raises:
      UsageError: the source is missing or is not the spec's, or `alpha` cannot be.
    """
    return derive_key(secrets.token_bytes(SECRET_BYTES), spec, default_rule(spec, alpha), source, material=material)


def derive_key(
    secret: bytes,
    spec: Spec,
    rule: Rule,
    source: Dataset | None = None,
    created: str | None = None,
    material: Material | None = None,
) -> Key:
    """The key of a secret: the same on every machine.

    Args:
      secret: 32 bytes.
      spec: what to derive.
      rule: how its verdicts shall be reached.
      source: the spec's source images; must have the digest that the spec names.
      created: UTC time, ISO 8601; now where not given.
      material: the one that the spec names.

    Raises:
      InvalidFile: the source or the material is not the one that the spec names.
      UsageError: its images have another shape than the scheme needs.
    """
    _check_made_from(spec, source)
    _check_fits(spec, source)
    check_material(spec, material)
    images = _drawn(secret, spec, _starting(source, material))
    created = created or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return assemble(secret, spec, rule, images, created, material)


def draw_images(secret: bytes, spec: Spec, source: Dataset | None = None) -> np.ndarray:
    """A key's triggers, uint8 [triggers, H, W, C]; of schemes without `rows` in their material, before it is known."""
    _check_fits(spec, source)
    return _drawn(secret, spec, source)


class Decoy(NamedTuple):
    """What is asked of a key that nobody committed to.

    Attributes:
      images: uint8 [triggers, H, W, C].
      labels: int32 [triggers].
    """

    images: np.ndarray
    labels: np.ndarray


def draw_decoys(key: Key, source: Dataset | None, count: int) -> Iterator[Decoy]:
    """Decoy keys, whose secrets follow from the key's: a judge gets the same, a thief cannot prepare.

    Raises:
      InvalidFile: the source is not the one that the key was made from.
    """
    spec = key.spec
    _check_made_from(spec, source)
    for number in range(count):
        secret = Stream(key.secret, "decoy", number).octets(SECRET_BYTES).tobytes()
        yield Decoy(draw_images(secret, spec, source), spec.policy.draw(secret, spec, range(spec.triggers)))


def _drawn(secret: bytes, spec: Spec, source: Dataset | None) -> np.ndarray:
    images = np.empty((spec.triggers, *spec.image), np.uint8)
    with progress("drawing triggers", spec.triggers) as advance:
        for some in _portions(spec, range(spec.triggers)):
            images[some[0] : some[-1] + 1] = scheme_of(spec.scheme).draw(secret, spec, source, some)
            advance(len(some))
    return images


def _portions(spec: Spec, at: Sequence[int]) -> Iterator[Sequence[int]]:
    """Numbers of triggers, some at a time."""
    portion = max(1, _PORTION // spec.input.size)
    return (at[start : start + portion] for start in range(0, len(at), portion))


def assemble(
    secret: bytes, spec: Spec, rule: Rule, images: np.ndarray, created: str, material: Material | None = None
) -> Key:
    """A key whose images are at hand; labels and commitment follow from the secret."""
    check_against_scheme(spec)
    check_material(spec, material)
    labels = spec.policy.draw(secret, spec, range(spec.triggers))
    commitment = Commitment(spec, rule, merkle_root(secret, images, labels), created)
    return Key(secret, commitment, images, labels, material=material)


def _starting(source: Dataset | None, material: Material | None) -> Dataset | None:
    """The images that a scheme starts from: where the material has `rows`, those of the source."""
    if source is None or material is None or "rows" not in material.arrays:
        return source
    rows = material["rows"]
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(source):
        raise InvalidFile("the key's material names images that the source has not")
    return source[rows]


def check_material(spec: Spec, material: Material | None) -> None:
    """Raises `InvalidFile` where a key's material is not the one that its spec names, or cannot be."""
    if (material.sha256 if material else None) != spec.material:
        raise InvalidFile("the arrays that the key's evidence is computed with are not those of its commitment")
    if material is None:
        return
    if {name: array.dtype.name for name, array in material.arrays.items()} != dict(spec.policy.arrays):
        raise InvalidFile("the arrays that the key's evidence is computed with have other names or types")
    spec.policy.check(spec, material)


def derive_leaves(
    secret: bytes, spec: Spec, source: Dataset | None, at: Sequence[int], material: Material | None = None
) -> list[Leaf]:
    """What the Merkle tree holds of some triggers, as the secret gives it: it costs as much as those alone.

    Args:
      secret: 32 bytes.
      spec: what to derive.
      source: the spec's source images, by `is_made_from`; None where the scheme needs none.
      at: numbers of triggers.
      material: the one that the spec names, by `check_material`.

    Raises:
      UsageError: the source cannot give such triggers.
    """
    check_against_scheme(spec)
    _check_fits(spec, source)
    found = []
    with progress("making triggers again", len(at)) as advance:
        for some in _portions(spec, at):
            images, labels = derive_some(secret, spec, source, some, material)
            found += [leaf_of(secret, *each) for each in zip(some, images, labels, strict=True)]
            advance(len(some))
    return found


def derive_some(
    secret: bytes, spec: Spec, source: Dataset | None, at: Sequence[int], material: Material | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Some triggers of a key: images uint8 [n, H, W, C] and labels int32 [n]; arguments as of `derive_leaves`."""
    images = scheme_of(spec.scheme).draw(secret, spec, _starting(source, material), at)
    return images, spec.policy.draw(secret, spec, at)


def check_independent(keys: Sequence[Key]) -> None:
    """Raises `UsageError` where two keys share a secret: what one proves, the other would prove again."""
    for number, key in enumerate(keys):
        for other in keys[:number]:
            if key.secret == other.secret:
                names = f"{other.commitment.id[:12]} and {key.commitment.id[:12]}"
                raise UsageError(f"`keys` {names} share a secret: give each key once, and each a secret of its own")


def _check_made_from(spec: Spec, source: Dataset | None) -> None:
    if spec.source and source is not None and not is_made_from(spec, source):
        raise InvalidFile(f"the images of {spec.source.name} here are not those the key was made from: digests differ")


def _check_fits(spec: Spec, source: Dataset | None) -> None:
    if source is not None and scheme_of(spec.scheme).own_shape and source.image != spec.image:
        raise UsageError(f"the source's images are {by(source.image)}, those of the key {by(spec.image)}")
