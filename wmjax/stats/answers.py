"""What a suspect said, in one form whatever it is: labels, or probabilities too."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import special
from scipy.stats import rankdata

from wmjax.errors import InvalidFile, UsageError
from wmjax.text import named

_SMALL = 1e-30  # probabilities that are told apart by their order alone
_FAINT = 2.0**-21  # by which probabilities that are equal are told apart where scores are not; float32 holds it
_LOOSE = 1e-2  # by which a sum may miss 1
_SURE = 1.0 - 1e-6  # where sigmoids end
_EVEN = 1e-5  # of the width: by which float32 moves evenly spaced scores
NAMES = 1 << 20  # from here on numbers stand for names: no key has so many classes


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a suspect said about n triggers, in the order of the questions; of many suspects with leading axes.

    >>> Answers(np.array([3, -1]), None, 10)[1:].labels.tolist()
    [-1]

    Attributes:
      labels: int64 [..., n], the top-1 class as the suspect numbers it, which may be none of the key's; numbers from
        `NAMES` on stand for names; -1 where the answer was refused or unusable.
      probabilities: float64 [..., n, A] with rows that sum to 1, or None where only labels came back; A is the number
        of classes that the suspect tells apart.
      classes: C, the key's.
    """

    labels: np.ndarray
    probabilities: np.ndarray | None
    classes: int

    @property
    def scores(self) -> int:
        """A, the classes that it gives scores to; 0 where only labels came back."""
        return 0 if self.probabilities is None else int(self.probabilities.shape[-1])

    @property
    def may_hide(self) -> bool:
        """Whether there are scores of two classes more than the key's, or more.

        What one network says may be among them, and what another does always higher: nobody is cleared who answers so.
        """
        return may_hide(self.scores, self.classes)

    def __len__(self) -> int:
        return int(self.labels.shape[-1])

    def __getitem__(self, rows: slice | np.ndarray) -> "Answers":
        probabilities = None if self.probabilities is None else self.probabilities[..., rows, :]
        return Answers(self.labels[..., rows], probabilities, self.classes)

    def of(self, suspect: int) -> "Answers":
        """One suspect's, out of many in the first axis."""
        probabilities = None if self.probabilities is None else self.probabilities[suspect]
        return Answers(self.labels[suspect], probabilities, self.classes)


def may_hide(theirs: int, ours: int) -> bool:
    """Whether another network's scores may be among those of so many classes, where a key has ours: a background aside.

    >>> may_hide(11, 10), may_hide(12, 10)
    (False, True)
    """
    return theirs > ours + 1


def refusal(like: Answers) -> Answers:
    """Questions that failed, as answers of a suspect's own form.

    >>> refusal(Answers(np.array([3]), None, 10)).labels.tolist()
    [-1]

    Args:
      like: as many answers of it.
    """
    return only(like, np.zeros(like.labels.shape, bool))


def only(answers: Answers, counts: np.ndarray) -> Answers:
    """The answers that count, bool of the labels' shape; the others refused."""
    scores = answers.probabilities
    if scores is not None:
        scores = np.where(counts[..., None], scores, 1.0 / answers.scores)
    return Answers(np.where(counts, answers.labels, -1), scores, answers.classes)


def concatenate(parts: Sequence[Answers]) -> Answers:
    """The answers to batches of questions, one after another; all of one form."""
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    labels = np.concatenate([part.labels for part in parts], axis=-1)
    return Answers(labels, np.concatenate(probabilities, axis=-2) if probabilities else None, parts[0].classes)


def stack(parts: Sequence[Answers]) -> Answers:
    """The answers of many suspects to as many questions each, in a first axis; all of one form."""
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    labels = np.stack([part.labels for part in parts])
    return Answers(labels, np.stack(probabilities) if probabilities else None, parts[0].classes)


def spread_top_k(classes_named: np.ndarray, scores: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities from a service that names its k best classes: the rest is spread evenly, below those.

    What it names may be no probabilities, e.g. sigmoids, which leave more to the others than they have themselves.

    >>> spread_top_k(np.array([[2, 0]]), np.array([[0.6, 0.2]]), classes=4).round(3).tolist()
    [[0.2, 0.1, 0.6, 0.1]]

    Args:
      classes_named: int [n, k], in 0..C - 1, each row's different.
      scores: float [n, k], their probabilities.
      classes: C > k.

    Returns:
      float64 [n, C].

    Raises:
      UsageError: k is not below C, a class is not one of them, or a row names one twice.
    """
    if classes_named.shape[1] >= classes:
        raise UsageError(f"{classes_named.shape[1]} classes named of {classes}: give the scores of all as they are")
    if ((classes_named < 0) | (classes_named >= classes)).any():
        raise UsageError(f"`classes_named` must be in 0..{classes - 1}")
    if (np.diff(np.sort(classes_named, axis=1), axis=1) == 0).any():
        raise UsageError("`classes_named` must be different within a row")
    rest = np.clip(1.0 - scores.sum(axis=1), 0.0, 1.0) / (classes - classes_named.shape[1])
    below = np.minimum(rest, 0.999 * scores.min(axis=1))  # of those in a distribution none is above its lowest one
    full = np.repeat(below[:, None], classes, axis=1)
    np.put_along_axis(full, classes_named, scores, axis=1)
    return np.asarray(full / full.sum(axis=1, keepdims=True))


def read_answers(
    raw: np.ndarray, n: int | tuple[int, ...], classes: int, name: str = "model", names: dict[str, int] | None = None
) -> Answers:
    """Labels from integers or text [..., n], probabilities from floats [..., n, A].

    Floats none of which is below 0 or above 1 are `shares`; others are logits, and go through softmax.

    The suspect may tell other classes apart than the key: A is any number from 2 on, and a label any number below
    `NAMES`. A negative label, an empty text, a NaN, scores without a finite maximum, or `may_rank` are a refusal:
    label -1.

    >>> read_answers(np.array([[0.0, 0.0], [np.nan, 1.0]]), 2, 2).labels.tolist()
    [0, -1]

    Args:
      raw: what came back.
      n: questions, or the leading axes and the questions.
      classes: that the key is for.
      name: whose answers they are, for messages.
      names: the suspect's words for its classes so far, with their numbers: new ones are added. None: none are taken.

    Raises:
      InvalidFile: the array is none of these.
    """
    asked = (n,) if isinstance(n, int) else n
    if np.issubdtype(raw.dtype, np.integer) and raw.shape == asked:
        return Answers(np.where((raw >= 0) & (raw < NAMES), raw.astype(np.int64), -1), None, classes)
    if raw.dtype.kind == "U" and raw.shape == asked:
        return Answers(_numbered(raw, names, name), None, classes)
    if not np.issubdtype(raw.dtype, np.floating) or raw.shape[:-1] != asked or raw.shape[-1] < 2:
        expected = f"integers {list(asked)} or floats {[*asked, classes]}"
        raise InvalidFile(f"suspect {name} answered {raw.dtype} {list(raw.shape)}, not {expected}")
    scores = raw.astype(np.float64)
    usable = ~np.isnan(scores).any(axis=-1) & np.isfinite(scores.max(axis=-1)) & ~may_rank(scores, classes)
    scores = np.where(usable[..., None], scores, 0.0)
    lowest, highest = scores.min(axis=-1, keepdims=True), scores.max(axis=-1, keepdims=True)
    are_shares = (lowest >= 0) & (highest > 0) & (highest < 1.0 + _LOOSE)
    probabilities = np.where(are_shares, shares(np.clip(scores, 0.0, 1.0 + _LOOSE)), _softmax(scores))
    bent = np.where(are_shares, scores, 2.0).sum(axis=-1) >= 1.0 + _LOOSE
    probabilities[bent] = _in_order(probabilities[bent], scores[bent])
    return Answers(np.where(usable, probabilities.argmax(axis=-1), -1), probabilities, classes)


def shares(scores: np.ndarray) -> np.ndarray:
    """Probabilities from scores of 0 to 1: a distribution, or what is told of one; or sigmoids, each of a class alone.

    What adds up to no more than 1 is divided by its sum; of more, which must be sigmoids, the odds are. So whoever
    serves a network's logits by either function gives what softmax does.

    >>> shares(np.array([[0.6, 0.2, 0.0], [0.9, 0.5, 0.5]])).round(3).tolist()
    [[0.75, 0.25, 0.0], [0.818, 0.091, 0.091]]

    Args:
      scores: float64 [..., A], not all 0.
    """
    sums = scores.sum(axis=-1, keepdims=True)
    odds = np.where(sums < 1.0 + _LOOSE, scores, scores / (1.0 - np.minimum(scores, _SURE)))
    total = odds.sum(axis=-1, keepdims=True)
    return np.asarray(odds / np.where(total > 0, total, 1.0))


def _softmax(scores: np.ndarray) -> np.ndarray:
    """The softmax, of which what float32 could not hold keeps its order: the lowest may be best."""
    found = special.softmax(scores, axis=-1)
    small = found < _SMALL
    if small.any():
        places = rankdata(scores, method="min", axis=-1) / scores.shape[-1]
        found = np.where(small, _SMALL * places, found)
    return np.asarray(found)


def _in_order(found: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The probabilities; where they do not tell different scores apart, as of 1e-20 and 2e-20, a little by their order.

    The lowest or the highest may be best all the same, and of equal ones it would be the first. Audits keep float32.
    """
    order = np.argsort(scores, axis=-1)
    ranked, told = (np.take_along_axis(each, order, axis=-1) for each in (scores, found.astype(np.float32)))
    lost = ((ranked[..., 1:] > ranked[..., :-1]) & (told[..., 1:] <= told[..., :-1])).any(axis=-1)
    if lost.any():
        kept = found[lost] * (1.0 + _FAINT * rankdata(scores[lost], method="min", axis=-1))
        found[lost] = kept / kept.sum(axis=-1, keepdims=True)
    return found


def may_rank(scores: np.ndarray, classes: int) -> np.ndarray:
    """Whether scores are evenly spaced, as whole numbers are: classes from the best on, perhaps, or ranks of them.

    By the highest of such numbers a copy would look like a stranger. Of three classes votes may be such numbers, too,
    and up to five that are rounded may be so by chance: of four or five, only whole numbers from 0 or 1 on are taken
    so. Fewer numbers than classes may be those of the best few, where they are whole and different. And six or more may
    be probabilities, or places in a picture, among which some are numbers of classes.

    >>> may_rank(np.array([[3.0, 0.0, 2.0, 1.0], [0.8, 0.2, 0.4, 0.6], [3.0, 0.0, 2.0, 2.0]]), 4).tolist()
    [True, False, False]
    >>> may_rank(np.array([[0.6, 0.1, 0.3, 0.2, 0.5, 0.4]]), 6).tolist(), may_rank(np.array([[7.0, 2.0]]), 10).tolist()
    ([True], [True])
    >>> may_rank(np.array([[0.1, 0.2, 0.6, 0.7, 0.9, 7.0], [0.1, 0.2, 0.6, 0.7, 0.9, 7.1]]), 10).tolist()
    [True, False]

    Args:
      scores: floats [..., A].
      classes: C, the key's.

    Returns:
      bool [...].
    """
    lowest, highest = scores.min(axis=-1), scores.max(axis=-1)
    with np.errstate(invalid="ignore", over="ignore"):  # of infinite ones, which are none
        width = highest - lowest
        even = np.abs(scores.mean(axis=-1) - lowest - 0.5 * width) <= _EVEN * width  # few others are so
        whole = ((lowest == 0) | (lowest == 1)) & (width == scores.shape[-1] - 1)
        found = np.asarray((scores.shape[-1] > 3) & (width > 0) & even & (whole | (scores.shape[-1] > 5)))
        steps = np.diff(np.sort(scores[found], axis=-1), axis=-1)
        found[found] = np.ptp(steps, axis=-1) <= _EVEN * width[found]
    if scores.shape[-1] < classes:
        found |= _are_classes(scores, classes)
    if scores.shape[-1] > 5:
        found |= _name_classes(scores, classes)
    return found


def _are_classes(scores: np.ndarray, classes: int) -> np.ndarray:
    """Whether these are different whole numbers from 0 to C: numbers of classes. Of two, 0 and 1 may be scores."""
    fit = (scores.min(axis=-1) >= 0) & (scores.max(axis=-1) <= classes) & (scores.max(axis=-1) > 1)
    fit &= (scores == np.rint(scores)).all(axis=-1)
    fit[fit] = (np.diff(np.sort(scores[fit], axis=-1), axis=-1) > 0).all(axis=-1)
    return np.asarray(fit)


def _name_classes(scores: np.ndarray, classes: int) -> np.ndarray:
    """Whether some are whole numbers from 2 to C, and all others from 0 to 1, one at least in between."""
    low, fractions = scores <= 1.0, (scores > 0.0) & (scores < 1.0)
    fit = (scores.min(axis=-1) >= 0.0) & (scores.max(axis=-1) <= classes) & ~low.all(axis=-1) & fractions.any(axis=-1)
    fit[fit] = (low | (scores == np.rint(scores)))[fit].all(axis=-1)
    return np.asarray(fit)


def _numbered(said: np.ndarray, names: dict[str, int] | None, name: str) -> np.ndarray:
    """A number for each name as `text.named` writes it, in the order in which they first came; none is a class's."""
    if names is None:
        raise InvalidFile(f"suspect {name} answers with names: map them to numbers, 0 for the first class and so on")
    numbers = [names.setdefault(named(text), NAMES + len(names)) if text else -1 for text in said.ravel().tolist()]
    return np.array(numbers, np.int64).reshape(said.shape)
