"""An audit's verdicts in words, by code. Nothing is decided by them."""

from collections import ChainMap

from wmjax.grounds import Ground
from wmjax.suspects import wording as suspects
from wmjax.verification import wording as verification

WORDS = {
    "e-bh": "e-BH (false discovery rate) at {level:g} over {tests} pairs of a model and a key",
    "bonferroni": "Bonferroni (family-wise error rate) at {level:g} over {tests} pairs of a model and a key",
    "e-bh-name": "e-BH (false discovery rate)",
    "bonferroni-name": "Bonferroni (family-wise error rate)",
    "e-bh-promise": (
        "Of the matches that such an audit names, the share expected to be false is at most {level}, whatever the "
        "models are and however they depend on each other."
    ),
    "bonferroni-promise": (
        "The chance that such an audit names even one false match is at most {level}, whatever the models are and "
        "however they depend on each other."
    ),
    "ranked": (
        "{matches} of {queries} labels repeated: p {p:.3g} among {nulls} null models of its family, assumed "
        "independent of the key and trained like the suspect; a match on its own needs p and the key's alpha "
        "({alpha:g}) to be at most {needed:.2g}, for which {suffice} null models suffice"
    ),
    "no-nulls": "no null models of its family calibrate it: give a folder of innocent ones with `nulls`",
    "asked-now": "all figures come from asking",
    "replayed": (
        "figures come from a journal that was written with the keys, and follow from the answers that it keeps"
    ),
    "with-keys": "figures come from a journal that was written with the keys",
    "as-written": (
        "figures are taken from a journal as they are: without the keys nobody can tell whether they were changed"
    ),
    "other-task": "not asked: it tells {theirs} classes apart, the key {ours}",
    "no-picture": "not asked: triggers of {from} cannot be made images of {to}",
    "other-size": "not asked at {to}: its weights are asked about triggers of {from} as another model",
    "runtime": (
        "run by ONNX Runtime in a process of its own, which took less than to compile it; questions, readings and bets "
        "are the same"
    ),
    "given-up": (
        "run by ONNX Runtime in a process of its own, since compiling it took longer than that and was given up; "
        "questions, readings and bets are the same"
    ),
    "weights": "weights with sha256 {sha256}",
    "undecided": "{asked} triggers were asked, all there are or may be: neither a match nor a no-match was reached",
    "short": "its evidence is a match by its key alone, which takes {own} bits; the bound over all pairs takes more",
    "not-regenerated": (  # an audit has no sources: another verb makes them again
        "the triggers came with the key and were not made again from {source} (sha256 {sha256:.16}...): until "
        "`wmjax verify` does that, the commitment must be dated before the suspect"
    ),
}


def told(ground: Ground) -> str:
    """A ground of a verdict in an audit, whichever room it comes from."""
    return ground.told(ChainMap(WORDS, verification.WORDS, suspects.WORDS))


def name_of(procedure: str) -> str:
    """The procedure that keeps the bound.

    >>> name_of("bonferroni")
    'Bonferroni (family-wise error rate)'
    """
    return WORDS[f"{procedure}-name"]


def promise(procedure: str, level: float) -> str:
    """What the procedure promises at a level."""
    odds = 1.0 / level
    return WORDS[f"{procedure}-promise"].format(level=f"1 in {odds:,.0f}" if odds >= 20 else f"{level:g}")
