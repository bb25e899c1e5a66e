"""A judgement in words, for people: a sentence for each code. Nothing is decided here, and no judge imports it."""

import datetime
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wmjax.evidence.judgement import Digests, Judgement, Refused, Settlement
from wmjax.grounds import Ground
from wmjax.text import quoted

WORDS: dict[str, str] = {
    # The verdict in one sentence.
    "match": "{suspect} knows the secret key that the owner of {owner:.16}... committed to.",
    "no-match": "{suspect} shows less of the secret than a copy would: its answers give no sign of this key.",
    "inconclusive": "It is not proven that {suspect} knows the secret key that the owner of {owner:.16}... committed "
    "to.",
    # What a match lacks, and how to supply it. {why}, where it stands, becomes the words of CODE.WHY.
    "unrevealed": "The secret is not revealed: that it gave the images and labels, and that they were not fitted to "
    "models, is the claimant's word. Ask for a claim made with `reveal`.",
    "underived": "The images start from the data set {source}, which is not at hand, so they were not made again: "
    "get it from elsewhere than the claimant, who could have made it up, and give it with `sources`.",
    "other-source": "The data set {source} at hand is not, byte for byte, the one that the key was made from, e.g. "
    "another version of it, so the images were not made again: get that one, from elsewhere than the claimant.",
    "two-signers": "Another signer committed to the same triggers by {dated}, and this claim shows no date: whose they "
    "are is not shown. Ask for a time stamp, and say when the suspect first appeared, with `since`.",
    "unpicked": "Only the claimant says who picked the questions: draw a nonce (`openssl rand -hex 32`), ask for a "
    "claim made for it, and give it with `nonce`.",
    "unasked": "The answers are the claimant's word: ask the suspect yourself, with `suspect`.",
    "weak": "The evidence is {bits:.1f} bits; a match needs {needed:.1f}.{why}",
    "weak.changed": " {differing} of the suspect's answers differ from the transcript: has it changed since?",
    "undated": "The evidence is {bits:.1f} bits, enough for a key that was committed to before the suspect appeared, "
    "which is not shown: {why}. Without a date the claimant may have searched for a secret that fits, and a match "
    "needs {needed:.1f} bits.",
    "undated.unstamped": "no authority that you trust has time-stamped it (`authorities` names those you trust)",
    "undated.unbelieved": "its time stamp is not believed, since its signer, which calls itself {authority}, is not an "
    "authority that you trust (`authorities` names those you trust)",
    "undated.unknown": "it was time-stamped by {dated}; say when the suspect first appeared, with `since`",
    "undated.late": "its time stamp of {dated} is not from before the suspect, which appeared on {since}",
    "forgetful": "The suspect {why} (p {p:.2g}). Either it knows what it was asked and answers otherwise, or it is not "
    "the model that the claimant asked, or the transcript is false.",
    "forgetful.fresh": "repeats {shown_known} of {shown} labels of triggers that it was shown before, and {known} of "
    "{asked} of those that it was not",
    "forgetful.transcript": "repeats {shown_known} of {shown} labels of triggers that it was shown before, and {known} "
    "of {asked} when the claimant asked",
    "forgetful.coins": "shows {shown_known} of {shown} coins, and {known} of {asked} when the claimant asked",
    # What was proven.
    "signed": "The commitment and the claim are signed by one key, {owner}.",
    "committed-by": "The key was committed to by {time}: time stamp of {authority} (certificate {certificate:.16}...).",
    "released-by": "The model {model} was named as carrying the key by {time}: time stamp of {authority} (certificate "
    "{certificate:.16}...).",
    "opened": "All {triggers} triggers shown here were committed to: their Merkle proofs lead to the signed root.",
    "picked": "The questions are those that your nonce picks, in its order, with none left out.",
    "whole": "The whole key is in the transcript: nobody chose among its triggers.",
    "regenerated": "The revealed secret and the written standard alone give the {triggers} images and labels that were "
    "opened again: none of them was fitted to a model.",
    "regenerated-from-source": "The revealed secret and your copy of {source} give the {triggers} images and labels "
    "that were opened again: none of them was fitted to a model.",
    "pledged": "The secret follows from a time stamp of {authority} (certificate {certificate:.16}...), of {time}, "
    "over what it is for: whoever looks for a secret that fits needs such a stamp for each one.",
    "material-committed": "What the evidence is computed with ({arrays}) is what was committed to; the coins follow "
    "from the secret and from its digest, so nothing in it was fitted to them, and nothing in it need be true.",
    "figures-follow": "The claimant's figures follow from the transcript by the rule that was committed to.",
    "asked-again": "The suspect was asked again here, and its own answers were weighed.",
    "same-weights": "The suspect is, weight for weight, the model that the claim names.",
    "released-copy": "The suspect is, file for file, the model {model} as its owner released it; model.sig in it signs "
    "all of its files by P-256 key {key:.16}...",
    "released-weights": "The suspect has, weight for weight, the model {model} as its owner released it; other files "
    "of that release it has not, or not as they were.",
    # What is taken on trust.
    "owner-unknown": "Who holds signing key {owner:.16}...: compare it with the key the owner has published.",
    "nonce-fair": "The challenger drew the nonce at random, after seeing the commitment.",
    "no-search-before-date": "The suspect did not exist before {since}; the authority's clock and key are sound. "
    "Nobody tried 2^{bits:.0f} secrets, or had as many stamped, against models from before that it may resemble.",
    "no-search-by-stamps": "{authority} keeps its key to itself, and did not give the claimant anything like "
    "2^{bits:.0f} time stamps to choose among.",
    "no-search": "Nobody can try 2^{bits:.0f} secrets; the date in the commitment is by the claimant's own clock.",
    "source-independent": "Your copy of the source data set comes from where the claimant could not write.",
    "suspect-asked": "The model that was asked here is the suspect.",
    "other-weights": "The claim names a model with other weights: a copy that was trained further, or another model.",
    "release-spoilt": "{model} holds a model.sig that is not true of it, so it is not a copy of a release: {reason}.",
    "other-signer": "Another signer claims the same triggers; only time stamps can show who committed to them first.",
    "order-unknown": "Two signers claim the same triggers, and the order is unknown: no time stamp shows whose they "
    "were first. That the suspect knows them does not depend on it.",
    "refused-here": "{refused} of your questions got no usable answer; they count against the claimant, and never for "
    "the suspect.",
    "mixed-forms": "It answered you in several forms: the labels alone were weighed, and clear nobody.",
    "answers-differ": "{differing} answers differ from the claimant's transcript; yours were weighed.",
    "adapted": "The key's triggers, {from}, were shown to the suspect as images of {to}, which it takes: no stranger "
    "gains by that, but nobody is cleared: a copy too may miss labels of such pictures.",
    "coloured": "The key's grey triggers, {from}, were shown to the suspect in three equal channels, {to}.",
    "other-classes": "The suspect tells {theirs} classes apart, the key {ours}: the bets are on those that it shares, "
    "and on renamings that its own answers show.",
    "more-classes": "The suspect gives scores to {theirs} classes, the key has {ours}: the bets are on those that it "
    "shares, and on renamings that its own answers show. What another network says may be among the rest, so nobody is "
    "cleared.",
    "other-names": "The suspect used {names} numbers that are none of the key's classes: only bets on a renaming can "
    "win with them.",
    "asked": "The suspect was asked as a function, image by image.",
    "served": "The suspect was asked over the network, as a service.",
    "served-jpeg": (
        "The suspect was asked over the network, as a service that takes JPEG alone, so not with the triggers to the "
        "pixel: no stranger gains by that, but nobody is cleared: a copy too may miss labels of such pictures."
    ),
    "run": "The suspect's file was run in a process of its own.",
    "weights-alone": (
        "The suspect's file holds a program, which was not run: its tensors were asked in a network that was named. "
        "The program may compute something else, so nobody is cleared."
    ),
    "in-part": (
        "Not all of the suspect's file was asked, or not as it may be meant. Its holder may read answers there, so "
        "nobody is cleared."
    ),
    "run-in-part": (
        "The suspect's file was run in a process of its own, and not all of it was asked, or not as it may be meant. "
        "Its holder may read answers there, so nobody is cleared."
    ),
    "open-size": (
        "The suspect's file leaves open how large its pictures are, and it was asked at the key's size. A copy that is "
        "meant for larger ones answers those as a stranger, so nobody is cleared: fix height and width in the file."
    ),
    "pixels-own": "The suspect was given pixels as its module says.",
    "ways": "How the suspect is meant to be asked is not certain: it was asked in {ways} ways.",
    "readings": "Of the {ways} ways in which the suspect was asked, {reading} shows the most evidence.",
    "read-as": "The suspect was asked as {reading}, one of the ways in which it may be meant to be asked: a copy may "
    "look like a stranger there, so it clears nobody unless you say that this way is meant.",
    "spent-before": "{spent} triggers were spent before, by the claimant's word; they count against the claimant.",
    "clock-ahead": "The commitment's own date is later than its time stamp; only the stamp counts.",
    "one-claim": "This bound covers one claim. Anyone who tries N models or keys is N times as likely to find a match "
    "by chance.",
    "origin-open": "How the suspect came to know the key is for people to judge: a copy, a student of a copy, or "
    "training on triggers that were made public.",
    # What happened when.
    "key-made": "the key was made, by the owner's own clock",
    "claim-made": "the claim was made, by the claimant's own clock",
    "stamped": "time stamp of {authority}",
    "stamp-unbelieved": "time stamp of {authority}, not believed",
    "suspect-appeared": "the suspect first appeared, as the judge was told",
    # Who was first.
    "settled": "Claim {claim} came first: its owner marked the model before the other.",
    "unsettled": "Who marked the model first stays open.",
    "undisputed": "There is no order to settle. What the claims come to: {verdict}.",
    "neither-proven": "Neither claim is proven, so there is nothing to settle.",
    "one-proven": "Only claim {claim} is proven; the other one is not, but a second mark may have damaged the first, "
    "so this does not say whose was first.",
    "only-valid": "Only claim {claim} is valid; what stands beside it proves nothing and takes nothing from it.",
    "one-owner": "All claims are by one owner: one key that is proven suffices, whatever is left of the others.",
    "unasked-claim": "Claim {claim} could not be judged, and may be as good as any: its line says why.",
    "unasked-original": "An original could not be asked: {why}",
    "many-keys": "{keys} keys claim this model: settle them two by two.",
    "one-key": "Both claims are about the same triggers, and each signer knows their secret: dates alone can tell who "
    "was first.",
    "two-signers-open": "Two signers claim the same triggers, and the order is unknown: not both show a time stamp "
    "from an authority you trust.",
    "carries": "The original of claim {original} carries the key of claim {claim}: {bits:.1f} bits of {needed:.1f}.",
    "carries-not": "The original of claim {original} does not carry the key of claim {claim}: {bits:.1f} bits of "
    "{needed:.1f}.",
    "not-own-original": "What claim {claim} calls its original does not carry its own key.",
    "both-carry": "Each original carries the other's mark: at least one of them learned the other's triggers.",
    "neither-carries": "Neither original carries the other's mark: the suspect may come from both, or have learned "
    "published triggers.",
    "traces": "An original shows traces of the other's key, too strong for chance and too weak for a match.",
    "original-undated": "The model given as the original of claim {claim} is not, weight for weight, one that its "
    "owner signed for with a time stamp that you trust (`wmjax commit` signs and stamps one).",
    "clean-later": "The original of claim {claim} is free of the other's mark, but dated after the other's original: "
    "nothing comes from a model that is not there yet.",
    "since-unknown": "It is not said when the suspect first appeared (`since`): an original is older.",
    "original-late": "The original of claim {claim} is not shown to be older than the suspect.",
    "descends": "So the model of claim {claim} came after that of claim {other} and has its mark.",
    "secret-until-dated": "Taken on trust: nobody put about the triggers of claim {claim} before the original of the "
    "other was dated, for it to learn unawares.",
    "model-earlier": "The original of claim {claim} is time-stamped {dated}, that of the other {later}.",
    "before-key": "The original of claim {claim} is time-stamped {dated}, the key of claim {other} only {later}; no "
    "signed statement dates the other's original.",
    "key-earlier": "The key of claim {claim} is time-stamped {dated}, that of the other {later}.",
    "ask-originals": "A key can be older than the model that it was put on, so the dates of two keys settle nothing. "
    "Have each key tested on each original: `originals`, two, in the order of the claims.",
    # What was judged.
    "digest-claim": "claim file",
    "digest-commitment": "commitment (its id)",
    "digest-root": "Merkle root",
    "digest-file": "commitment file {number}",
    "digest-released-files": "released model {model}: files (dirHash)",
    "digest-released-tensors": "released model {model}: tensors",
    "digest-suspect-files": "suspect {model}: files (dirHash)",
    "digest-suspect-tensors": "suspect {model}: tensors",
}


def told(ground: Ground) -> str:
    """A ground as a sentence.

    >>> told(Ground("spent-before", {"spent": 3}))
    "3 triggers were spent before, by the claimant's word; they count against the claimant."
    """
    values = {name: _SHOWN[name](value) if name in _SHOWN else value for name, value in ground.values.items()}
    why = WORDS[f"{ground.code}.{values['why']}"].format(**values) if "why" in values else ""
    return WORDS[ground.code].format(**{**values, "why": why})


def headline(judgement: Judgement) -> str:
    """The verdict in one plain sentence."""
    return told(Ground(judgement.verdict, {"suspect": judgement.suspect, "owner": judgement.owner}))


def digest_rows(digests: Digests) -> list[tuple[str, str]]:
    """What was judged: a name for people and the SHA-256 of each thing."""
    rows = [
        (Ground("digest-claim"), digests.claim),
        (Ground("digest-commitment"), digests.commitment),
        (Ground("digest-root"), digests.root),
    ]
    for number, sha256 in enumerate(digests.commitment_files, 1):
        rows.append((Ground("digest-file", {"number": number}), sha256))
    named = [("released", model) for model in digests.released]
    for role, model in named + ([("suspect", digests.suspect)] if digests.suspect else []):
        rows.append((Ground(f"digest-{role}-files", {"model": model.name}), model.files))
        rows.append((Ground(f"digest-{role}-tensors", {"model": model.name}), model.tensors))
    return [(told(name), sha256) for name, sha256 in rows]


def command(claims: Sequence[Judgement | Refused], originals: int = 0) -> str:
    """What a shell is told to judge claims again, of which at least one was judged.

    `claim.json`, or `claim-1.json` and so on, `MODEL` and `ORIGINAL-1` stand for their files, and for suspect and
    originals with the options that open them; a source is called as the keys call it.
    """
    judged = [one for one in claims if isinstance(one, Judgement)]
    files = ["claim.json"] if len(claims) == 1 else [f"claim-{number}.json" for number, _ in enumerate(claims, 1)]
    brought, words = judged[0].brought, ["wmjax", "judge", *files]
    if any(one.asked_by == "judge" for one in judged):
        words += ["--suspect", "MODEL"]
    if brought.nonce is not None:
        words += ["--nonce-from", brought.nonce]
    if brought.since:
        words += ["--suspect-since", brought.since]
    for authority in brought.authorities:
        words += ["--tsa", authority]
    named = [one.source if isinstance(one, Refused) else one.brought.source for one in claims]
    for source in dict.fromkeys(filter(None, named)):
        words += ["--source", source]
    for number in range(originals):
        words += ["--original", f"ORIGINAL-{number + 1}"]
    return shlex.join([*words, "--alpha", str(brought.alpha)])


def document(judgement: Judgement) -> dict[str, Any]:
    """The judgement as the versioned JSON document: codes for programs, and beside them sentences for people."""
    return {
        **judgement.to_json(),
        "headline": headline(judgement),
        "proven": sentences(judgement.proven),
        "assumed": sentences(judgement.assumed),
        "missing": sentences(judgement.missing),
        "dates": [[told(ground), ground.values["time"]] for ground in judgement.dates],
        "command": command([judgement]),
    }


def settlement_document(settlement: Settlement, claims: Sequence[Judgement | Refused]) -> dict[str, Any]:
    """The settlement of claims as JSON values: codes, and sentences beside them."""
    return {
        **settlement.to_json(),
        "headline": told(settlement.headline),
        "words": sentences(settlement.grounds),
        "command": command(claims, settlement.originals),
    }


def sentences(grounds: Sequence[Ground]) -> list[str]:
    """A sentence for each ground."""
    return [told(ground) for ground in grounds]


def _moment(time: str) -> str:
    """A time of ISO 8601, in UTC; seconds only if there are any.

    >>> _moment("2026-01-31T12:00:00+01:00"), _moment("2026-01-31T12:00:09Z")
    ('2026-01-31 11:00 UTC', '2026-01-31 12:00:09 UTC')
    """
    when = datetime.datetime.fromisoformat(time).astimezone(datetime.UTC)
    return f"{when:%Y-%m-%d %H:%M:%S}".removesuffix(":00") + " UTC"


def _ordinal(number: int) -> int:
    """Programs number claims from 0, people from 1."""
    return number + 1


_SHOWN: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("time", "dated", "since", "later"), _moment),
    **dict.fromkeys(("claim", "original", "other"), _ordinal),
    **dict.fromkeys(("suspect", "authority", "model"), quoted),
}
