"""What a verdict rests on, in words by code. Nothing is decided by them."""

from collections import ChainMap

from wmjax.grounds import Ground
from wmjax.suspects import wording as suspects

WORDS = {
    "self-derived": "self-derived: secret and spec alone regenerate every trigger",
    "not-regenerated": (
        "the triggers came with the key and were not made again from {source} (sha256 {sha256:.16}...): until they are "
        "(give `source`), the commitment must be dated before the suspect"
    ),
    "regenerated": (
        "made again here from {source} (sha256 {sha256:.16}...): self-derived for a judge who has that data set from "
        "elsewhere; otherwise the commitment must be dated before the suspect"
    ),
    "committed": "committed {created} by the owner's own clock: time stamps are for claims and their judge",
    "not-searched": (
        "assumes that nobody searched for a secret that happens to fit this suspect: with no time stamp from before "
        "the suspect, only more than {bits} bits of evidence rule that out"
    ),
    "exact-labels": "labels are uniform and independent of images and models: the bound holds for any suspect",
    "exact-coins": (
        "coins are fair and independent of images, features, references and models: the bound holds for any suspect"
    ),
    "calibrated-labels": "no exact test exists for {labels} labels, only calibration",
    "other-alpha": "alpha {alpha:g} was chosen now; {committed:g} was committed",
    "labels-only": "the suspect answered with labels alone",
    "probabilities": "the suspect answered with probabilities",
    "refused": "{refused} of {asked} answers were unusable; they count against the owner and were not asked again",
    "stopped": "stopped at the first decisive answer, so fixed-sample figures do not apply: `whole` gives them",
    "peaked": "the evidence had reached {bits:.1f} bits at query {query}; a later fall voids nothing",
    "shown-before": (
        "{shown} of {asked} triggers were shown to this suspect in an earlier verification, or opened by a claim: they "
        "can convict it, and never clear it"
    ),
    "forgetful": (
        "it repeats the labels of triggers that it was not shown before more often than of those that it was: "
        "{fresh_matches} of {fresh} against {shown_matches} of {shown} (p {p:.2g}); it may know what it was asked"
    ),
    "covered": "{covered} ordinary images were asked in between; {refused} of them were refused",
    "silent": (
        "it refuses triggers more often than ordinary images: {refused} of {asked} against {cover_refused} of "
        "{covered} (p {p:.2g}); whoever is silent on what they know is never cleared"
    ),
    "not-calibrated": "no calibration: give null models (`nulls`), or the key's source images",
    "null-models": (
        "calibrated against {models} null models, assumed independent of the key and trained like the suspect: no "
        "p-value below {smallest_p:.2g} can be supported"
    ),
    "decoy-keys": (
        "calibrated against {keys} decoy keys, asked of the suspect too; about one in {classes} has the key's own "
        "label: no p-value below {smallest_p:.2g} can be supported"
    ),
    "combined": (
        "the secrets of the {keys} keys are independent, so their evidence multiplies; that the suspect may carry any "
        "of them costs {cost:.1f} bits at most; assumes that no key was left out for what it said"
    ),
    "too-few": "so no match is possible at alpha {alpha:g}: that needs {needed} of them",
}


def told(ground: Ground) -> str:
    """A ground of a verdict, whichever room it comes from."""
    return ground.told(ChainMap(WORDS, suspects.WORDS))
