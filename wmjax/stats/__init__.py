"""Evidence that a model knows a secret key: NumPy and SciPy only, float64, no JAX.

The labels of a key with the `random` policy are uniform over C classes and independent of the key's images and of
every model that never saw the key. So for any probability vector q_i computed from a suspect's answer to trigger i
alone, E[C q_i(y_i)] = 1: a gambler who bets q_i on the secret label y_i plays a fair game. The gambler's

    wealth_t = prod_{i <= t} C q_i(y_i)          evidence in bits = log2(wealth_t)

is a test martingale under "this model has nothing to do with this secret", and by Ville's inequality the chance
that it *ever* reaches 1/alpha is at most alpha, whatever the model and whenever one stops (Shafer 2021, "Testing by
betting"; Ville 1939). The gambler plays a fixed, published set of strategies side by side with equal stakes; an average
of wealths is a wealth, so nothing is tuned on the suspect.

`contract` says what a kind of evidence is, `labels` is the kind above, `pairs` the same between two classes, `spread`
reads coins off all answers together (with `correlations`), `ranked` is that of keys without exact evidence, `kinds`
lists them, `decision` reaches the verdict of a `rule`. Beside them: `answers` (what a suspect said), `said` (as files
hold it), `mixture` (equal stakes), `renaming` (bets on classes that were renamed), `naming` (the names that fit best),
`turned` (other classes that an answer may mean), `neighbours` (whether answers that are alike go with one label),
`told` (how many classes a suspect tells apart), `doubts` (the least that these leave of the evidence against a copy),
`binomial` (exact figures for a number of questions fixed before), `calibration` (ranks among decoys or null models),
`many` (the false discovery rate over many keys and models), `several` (keys about one suspect: their evidence
multiplies), `readings` (ways to ask one suspect: their wealth is averaged).
"""

from wmjax.stats.answers import (
    NAMES,
    Answers,
    concatenate,
    may_hide,
    may_rank,
    read_answers,
    refusal,
    shares,
    spread_top_k,
    stack,
)
from wmjax.stats.binomial import TELLING_P, binomial_p, clopper_pearson, more_often_p
from wmjax.stats.calibration import calibrated_p, nulls_for
from wmjax.stats.contract import Evidence, Path, join, next_stage, rows_of
from wmjax.stats.decision import Decision, Outcome, decide
from wmjax.stats.kinds import EVIDENCE, kind_of, play
from wmjax.stats.labels import evidence, redraw_p
from wmjax.stats.many import e_bh
from wmjax.stats.readings import Bets, begin, bet_each, play_each
from wmjax.stats.rule import Rule, bits_for
from wmjax.stats.several import cost, multiplied

__all__ = [
    "EVIDENCE",
    "NAMES",
    "TELLING_P",
    "Answers",
    "Bets",
    "Decision",
    "Evidence",
    "Outcome",
    "Path",
    "Rule",
    "begin",
    "bet_each",
    "binomial_p",
    "bits_for",
    "calibrated_p",
    "clopper_pearson",
    "concatenate",
    "cost",
    "decide",
    "e_bh",
    "evidence",
    "join",
    "kind_of",
    "may_hide",
    "may_rank",
    "more_often_p",
    "multiplied",
    "next_stage",
    "nulls_for",
    "play",
    "play_each",
    "read_answers",
    "redraw_p",
    "refusal",
    "rows_of",
    "shares",
    "spread_top_k",
    "stack",
]
