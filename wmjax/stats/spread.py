"""Evidence of kind `spread/1`: fair coins that a network learned as a shift of its answers on natural images.

Coin s_jk belongs to feature k of the images (u_k(x), fixed before the coins) and contrast j of the classes (b_j): the
marked network answers s_jk u_k(x) b_j more than it would. For any suspect

    T_jk = sum_i b_j . answer_i u_k(x_i), less as much of the same of what unmarked networks answer as fits T best

T follows from the answers and from what was fixed before the coins (`correlations`). So whatever the suspect is, if it
has nothing to do with the secret, the coins are fair given T, and the gambler who stakes g tanh on the sign of each
coin, by its T, plays a fair game: one bet a coin, not one an image, so correlated answers do no harm. Forms of the
answers are strategies; references need not be true or honest (they are in the digest that the coins follow from).

T is formed again at declared stages (`stages`). Each has a stake of its own, the last one half of all, since students
show little before it; those that are still to come count as lost. So the wealth never exceeds what it comes to in the
end, whose mean is 1 at most, and a stop at any stage is paid for.

The acquittal is about a copy or student for which each coin is more likely right than not, by `rule.rate`: signs of T
against the coins, in the form of the probabilities in which most agree, or show nothing. It counts only for
probabilities and from `TELLING` different answers on: a copy that gives labels alone may show too little, also where it
calls them probabilities, says beside them how sure it is, gives the same few to everything or is sure of all. Answers
differ whose scores do, whatever the outputs that they are given to. Nor does it count where the reciprocals of the
probabilities would win: that is a copy whose lowest score is meant. Nor while the highest is always the same one, or
most answers rise or fall from class to class: scores may be in the order of their size (`told`). Nor where fewer scores
than classes ever show anything of their own: of merged ones some coins say nothing. Who makes up the rest of each
answer is beyond this.
"""

from typing import NamedTuple

import numpy as np

from wmjax.stats.answers import NAMES, Answers
from wmjax.stats.calibration import calibrated_p
from wmjax.stats.contract import Evidence, Path
from wmjax.stats.correlations import LEAST, UNIT, Coins, Expected, expected, quantised, statistics, units
from wmjax.stats.mixture import mixed
from wmjax.stats.rule import Rule
from wmjax.stats.told import of_any, several, withheld

STAGES = (300, 1_000, 3_000, 10_000)
GAINS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
TELLING = 1_000  # different answers that an acquittal needs
_SURE = 0.999  # most that is staked on a coin
_WIDEST = 1 << 20  # outputs times classes that are matched: of a suspect with more only labels count


class Gathered(NamedTuple):
    """The state; arrays that begin with the leading axes.

    Attributes:
      rows: int64 [..., t], probes asked so far.
      given: uint16 [..., t, A], answers as `quantised` has them, zeros for a refusal; [..., t, 1] where only labels
        came back: 0 for a refusal, else 1 + the label, or `UNIT` less the name's number from `NAMES` on.
      wealth: float64 [..., stages], log2 of what each stage's stake has become; -inf before.
      cleared: float64 [..., stages], likewise against a copy.
      agreed: int64 [...], coins whose sign T shows in all forms together, at the last stage.
    """

    rows: np.ndarray
    given: np.ndarray
    wealth: np.ndarray
    cleared: np.ndarray
    agreed: np.ndarray


def stages(probes: int) -> tuple[int, ...]:
    """After how many answers about a key of so many probes the path moves.

    >>> stages(3_000), stages(360)
    ((300, 1000, 3000), (300, 360))
    """
    return (*(stage for stage in STAGES if stage < probes), probes)


def start(shape: tuple[int, ...] = ()) -> Gathered:
    """Nothing asked yet, of suspects in an array of this shape."""
    none = np.zeros((*shape, 0))
    return Gathered(none.astype(np.int64), np.zeros((*shape, 0, 1), np.uint16), none, none, np.zeros(shape, np.int64))


def bet(state: Gathered, answers: Answers, truth: Coins, rule: Rule, *, outputs: int = 0) -> tuple[Gathered, Path]:
    """Takes n more answers, [..., n], and plays the stages that they complete; outputs as of `labels.bet`."""
    fresh, shape, before = _quantised(answers), answers.labels.shape, state.rows.shape[-1]
    due = stages(len(truth.features))
    if not before:
        silent = np.full((*shape[:-1], len(due)), -np.inf)
        state = Gathered(state.rows, fresh[..., :0, :], silent, silent, state.agreed)
    rows = np.concatenate([state.rows, np.broadcast_to(truth.rows, shape)], axis=-1)
    given = np.concatenate([state.given, fresh], axis=-2)
    wealth, cleared, agreed = state.wealth.copy(), state.cleared.copy(), state.agreed.copy()
    paths = np.repeat(_shown(state)[..., None], shape[-1], axis=-1)
    for played, stage in enumerate(due):
        if before < stage <= before + shape[-1]:
            known: dict[bytes, Expected] = {}
            for suspect in np.ndindex(shape[:-1]):
                found = _play(rows[suspect][:stage], given[suspect][:stage], truth, rule.rate, known)
                wealth[(*suspect, played)], cleared[(*suspect, played)], agreed[suspect] = found
            paths[..., stage - before - 1 :] = _shown(Gathered(rows, given, wealth, cleared, agreed))[..., None]
    matches = paths[2].astype(np.int64)
    tops = np.where(given.any(axis=-1), given.argmax(axis=-1), -1)
    apart = of_any(several(tops[..., :before], tops[..., before:]) & ~_in_order(given)[..., before:], outputs)
    bits, cleared_bits = paths[0], withheld(paths[1], apart & (answers.scores <= answers.classes))
    peak = np.maximum.accumulate(np.concatenate([_sum_of(state.wealth)[..., None], bits], axis=-1), axis=-1)[..., 1:]
    path = Path(bits, cleared_bits, np.maximum(peak, 0.0), matches, np.zeros_like(matches))
    return Gathered(rows, given, wealth, cleared, agreed), path


def _shown(state: Gathered) -> np.ndarray:
    """Evidence, evidence against a copy and coins that agree, float64 [3, ...]."""
    return np.stack([_sum_of(state.wealth), _sum_of(state.cleared), state.agreed])


def stage_shares(count: int) -> np.ndarray:
    """What part of all is staked in each of so many stages: half in the last, as much in each of the others.

    >>> stage_shares(3).tolist(), stage_shares(1).tolist()
    ([0.25, 0.25, 0.5], [1.0])
    """
    return np.array([*[0.5 / max(1, count - 1)] * (count - 1), 0.5 if count > 1 else 1.0])


def _sum_of(wealths: np.ndarray) -> np.ndarray:
    """log2 of all stages' wealth together, each by its share; 0 before the first."""
    count = wealths.shape[-1]
    if not count:
        return np.zeros(wealths.shape[:-1])
    total = mixed(wealths + np.log2(count * stage_shares(count)), axis=-1)
    return np.where(np.isneginf(total), 0.0, total)


def _narrow(answers: Answers) -> Answers:
    """The answers; labels alone where there are too many outputs."""
    if answers.scores * answers.classes <= _WIDEST:
        return answers
    return Answers(answers.labels, None, answers.classes)


def _quantised(answers: Answers) -> np.ndarray:
    answers = _narrow(answers)
    refused = answers.labels[..., None] < 0
    if answers.probabilities is None:
        labels = answers.labels[..., None]
        numbers = np.where(labels >= NAMES, UNIT - (labels - NAMES), 1 + labels)  # names are counted from the top
        return np.asarray(np.where(refused | (numbers < 1) | (numbers > UNIT), 0, numbers), np.uint16)
    return np.asarray(np.where(refused, 0, quantised(answers.probabilities)), np.uint16)


def _play(
    rows: np.ndarray, given: np.ndarray, truth: Coins, rate: float, known: dict[bytes, Expected]
) -> tuple[float, float, int]:
    """One stage of one suspect: log2 of the wealth, evidence against a copy, coins that agree.

    What the references show on the same probes is known from earlier suspects, or comes to be.
    """
    rows, given = _answered(rows, given)
    if (place := rows.tobytes()) not in known:
        known.clear()  # most suspects answer all
        known[place] = expected(rows, truth)
    told = statistics(given, known[place], truth)
    wealth = _mean_wealth(told, truth.coins)
    shown, coins = told * truth.coins, truth.coins.size
    most = np.sum(shown[-4:] >= 0, axis=(-2, -1)).max()  # of the probabilities, and of all these forms together
    telling = _telling(given) and _apart(given) >= truth.references.shape[-1]
    acquittal = most * np.log2(0.5 / rate) + (coins - most) * np.log2(0.5 / (1.0 - rate)) if telling else -np.inf
    if acquittal > 0.0 and _mean_wealth(statistics(_turned(given), known[place], truth), truth.coins) >= 0.0:
        acquittal = 0.0  # who means the lowest of their scores is not a stranger
    return float(wealth), float(acquittal), int(np.sum(shown[-1] > 0))


def _answered(rows: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows that were answered, and the answers: refusals are left out."""
    usable = given.any(axis=1)
    return rows[usable], given[usable]


def _told(answers: Answers, truth: Coins) -> np.ndarray:
    """T of all answers, by every form of them."""
    rows, given = _answered(np.asarray(truth.rows)[: len(answers)], _quantised(answers))
    return statistics(given, expected(rows, truth), truth)


def _mean_wealth(told: np.ndarray, coins: np.ndarray) -> float:
    """log2 of what all strategies together come to."""
    return float(mixed(_log2_wealths(told, coins)))


def _turned(given: np.ndarray) -> np.ndarray:
    """Answers [t, A] as of somebody who means the lowest score: their reciprocals."""
    odds = 1.0 / np.maximum(units(given), LEAST)
    return quantised(odds / odds.sum(axis=1, keepdims=True))


def _telling(given: np.ndarray) -> bool:
    """Whether answers [t, A] show more than labels do: most do, and `TELLING` of these give scores that no other gives.

    Of three outputs or more those do not that say how sure the best class is, or the lowest one, and no more: all
    others are the same, as they are where a server shows no small scores.
    """
    if given.shape[1] < 2:
        return False
    ranked = np.sort(units(given), axis=1)
    if given.shape[1] > 2:
        ranked = ranked[(ranked[:, 0] < ranked[:, -2]) & (ranked[:, 1] < ranked[:, -1])]
    return 2 * len(ranked) > len(given) and len({scores.tobytes() for scores in ranked}) >= TELLING


def _apart(given: np.ndarray) -> int:
    """How many outputs of answers [t, A] differ from all others and ever show more than is counted as least."""
    shown = units(given)
    return len(np.unique(shown.T[shown.max(axis=0) > LEAST], axis=0))


def _in_order(given: np.ndarray) -> np.ndarray:
    """Where most of the answers [..., t, A] up to there rise, or fall, from output to output; bool [..., t].

    So do answers that say how likely it is to be beyond each class. By chance two of six about three classes do, and
    two of 24 about four.
    """
    asked, shown = given.any(axis=-1), units(given)
    up, down = shown[..., 1:] >= shown[..., :-1], shown[..., 1:] <= shown[..., :-1]
    ordered = asked & (up.all(axis=-1) | down.all(axis=-1)) & (given.shape[-1] > 3)
    return np.asarray(2 * np.cumsum(ordered, axis=-1) > np.cumsum(asked, axis=-1))


def _log2_wealths(told: np.ndarray, coins: np.ndarray) -> np.ndarray:
    """What each strategy comes to, float64 [gains x statistics]."""
    return np.asarray(np.log2(1.0 + coins * _stakes(told)).sum(axis=(-2, -1)).ravel())


def _stakes(told: np.ndarray) -> np.ndarray:
    """What each strategy puts on -1 or 1 of each coin, float64 [gains, statistics, M, K]."""
    return np.asarray(_SURE * np.tanh(np.multiply.outer(np.array(GAINS), told)))


def drawn_wealths(told: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """What each strategy would come to under other coins, in log2: float64 [gains x statistics, draws].

    Args:
      told: as from `statistics`.
      drawn: 0 or 1, where 0 stands for the coin -1; [draws, M K].
    """
    stakes = _stakes(told).reshape(len(GAINS) * len(told), -1)
    heads, tails = np.log2(1.0 + stakes), np.log2(1.0 - stakes)
    return np.asarray((heads - tails) @ drawn.T + tails.sum(axis=1, keepdims=True))


def perfect(truth: Coins, classes: int) -> Answers:
    """What a suspect answers that knows every coin: the first reference's answers, shifted by them."""
    rows = truth.rows
    base = np.log(np.maximum(truth.references[0, rows].astype(np.float64), LEAST) / UNIT)
    shift = truth.features[rows] @ (truth.coins.T @ (truth.contrasts / truth.norms)) / np.sqrt(truth.coins.shape[1])
    odds = np.exp(base + shift / np.maximum(1e-9, shift.std()))
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    return Answers(probabilities.argmax(axis=1).astype(np.int64), probabilities, classes)


def redraw_p(answers: Answers, truth: Coins, rng: np.random.Generator, redraws: int = 9999) -> float:
    """Calibrated p of the evidence from all answers, against coins drawn anew."""
    told = _told(answers, truth)
    totals = drawn_wealths(told, rng.integers(2, size=(redraws, truth.coins.size)).astype(np.float64))
    return calibrated_p(_mean_wealth(told, truth.coins) - 1e-9, mixed(totals))


def coins(truth: Coins) -> int:
    """How many there are."""
    return int(truth.coins.size)


def leanings(answers: Answers, truth: Coins) -> np.ndarray:
    """How far T shows each coin, float64 [M K]; from the answers up to the last stage, none before the first."""
    last = max((stage for stage in stages(len(truth.features)) if stage <= len(answers)), default=0)
    told = _told(answers[:last], truth)
    return np.asarray((told[-1] * truth.coins).ravel())


EVIDENCE = Evidence(
    "spread/1",
    start,
    bet,
    perfect,
    redraw_p,
    exact=True,
    independent=False,
    stages=stages,
    coins=coins,
    leanings=leanings,
)
