"""Several claims before one judge: garbage beside an honest one changes nothing for it, and each gets its own code."""

import dataclasses
import html
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import forger
import numpy as np
import pytest
from forger import abstract_key, day, knowing
from pages import Page
from PIL import Image
from tsa import LocalTsa

from wmjax.errors import AccessError, InvalidFile, MisfitError, UsageError
from wmjax.evidence import judge_asking, wording
from wmjax.evidence.authority import read_authority
from wmjax.evidence.claim import Claim
from wmjax.evidence.claim_file import read_claim
from wmjax.evidence.conflict import settle
from wmjax.evidence.facts import Court
from wmjax.evidence.hearing import _together, hear, read_all
from wmjax.evidence.judge import judge
from wmjax.evidence.judge_asking import usable
from wmjax.evidence.judgement import Refused
from wmjax.keys import Key, derive_key, make_spec, new_signer
from wmjax.report.evidence import judgement_page
from wmjax.suspects import Suspect

NONCE = b"n" * 32
KEY, OTHER = abstract_key(b"\x01" * 32, 60), abstract_key(b"\x02" * 32, 60)
SIGNER = new_signer()
HONEST = forger.honest_claim(KEY, knowing(KEY), NONCE, signer=SIGNER)
ASK = knowing(KEY)
COURT = Court(NONCE, forger.suspect(ASK))


def files(*raws: bytes) -> list[tuple[str, bytes]]:
    return [(f"claim{n}.json", raw) for n, raw in enumerate(raws)]


def false_claim() -> bytes:
    """A claim that reads well, over triggers that its secret did not give."""
    key = forger.made_up(KEY.spec, KEY.images, forger.innocent()(KEY.images), b"\x05" * 32)
    rows = forger.transcript(key, forger.order(key, NONCE), forger.answers_of(key, ASK))
    return forger.write(key, rows, NONCE, secret=key.secret)


GARBAGE = {
    "no file at all": b"",
    "a flipped byte": HONEST.raw.replace(b'"wmjax-claim/1"', b'"wmjax-claim/2"'),
    "false": false_claim(),
    "another nonce": forger.honest_claim(OTHER, knowing(OTHER), b"o" * 32).raw,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("place", [0, 1])
def test_garbage_beside_an_honest_claim_is_listed_and_changes_nothing(garbage, place):
    raws = [HONEST.raw, garbage] if place else [garbage, HONEST.raw]
    hearing = hear(read_all(files(*raws)), COURT)
    told, honest = hearing.judgements[place], hearing.judgements[1 - place]
    assert (told.code, told.exit_code) == ("invalid", 4)
    assert "\n" not in told.reason
    assert honest.to_json() == judge(HONEST, COURT).to_json()
    assert hearing.outcome == "match"
    (ground,) = hearing.settlement.grounds
    assert ground.to_json() == {"code": "only-valid", "claim": 1 - place, "verdict": "match"}
    assert hearing.settlement.headline.code == "undisputed"


def test_a_claim_by_a_key_of_other_images_is_no_obstacle():
    """The suspect cannot be asked about it; that is no reason not to ask about the other."""
    spec = make_spec("abstract", image=(8, 8, 2), classes=10, triggers=40)
    junk = derive_key(b"\x03" * 32, spec, forger.rule(spec), created=forger.MADE)
    court = Court(NONCE, dataclasses.replace(forger.suspect(ASK), image=(8, 8, 1)))
    claims = read_all(files(forger.honest_claim(junk, forger.knowing(junk, zeros), NONCE).raw, HONEST.raw))
    hearing = hear(claims, court)
    assert (hearing.judgements[0].code, hearing.judgements[0].exit_code) == ("misfit", 2)
    assert (hearing.judgements[1].verdict, hearing.outcome) == ("match", "match")


@pytest.mark.parametrize("kind", [InvalidFile, MisfitError, UsageError])
def test_a_claim_that_cannot_be_judged_has_the_code_of_what_went_wrong(kind, monkeypatch):
    """A judge who lacks a package is not told that the suspect takes other images."""

    def fails(claim: Claim, court: Court) -> None:
        raise kind("it needs the onnx package")

    monkeypatch.setattr("wmjax.evidence.hearing.judge", fails)
    hearing = hear([HONEST], COURT)
    told = hearing.judgements[0]
    assert (hearing.outcome, told.code, told.exit_code) == (kind.code, kind.code, kind.exit_code)
    assert type(told.error("claim.json")) is kind


def test_a_strangers_unproven_claim_takes_nothing_from_an_honest_one_and_settles_nothing():
    stranger = forger.honest_claim(OTHER, knowing(OTHER), NONCE, whole=True)
    hearing = hear([HONEST, stranger], COURT)
    assert [one.verdict for one in hearing.judgements] == ["match", "inconclusive"]
    assert (hearing.outcome, hearing.settlement.grounds[0].code) == ("inconclusive", "one-proven")


def test_with_several_claims_by_one_owner_there_is_nothing_to_settle():
    key = abstract_key(b"\x07" * 32, 120)
    ask = knowing(key)
    signer = new_signer()
    first, second = (
        read_claim(forger.write(key, rows, NONCE, signer=signer, secret=key.secret), "it")
        for rows in (forger.transcript(key, forger.order(key, NONCE, n), forger.answers_of(key, ask)) for n in (50, 60))
    )
    hearing = hear([first, second], Court(NONCE, forger.suspect(ask)))
    assert [one.code for one in hearing.judgements] == ["invalid", "invalid"]  # each opens the other's triggers
    assert hearing.outcome == "invalid"


@pytest.mark.parametrize(
    ("told", "together"),
    [
        (("match", "match"), "match"),
        (("match", "no-match"), "match"),  # e.g. a student, who knows no triggers
        (("inconclusive", "match"), "match"),
        (("no-match", "no-match"), "no-match"),
        (("no-match", "inconclusive"), "inconclusive"),
    ],
)
def test_one_key_of_an_owner_suffices(told, together):
    keys = [abstract_key(bytes([n]) * 32, 120) for n in (1, 2)]
    answers: dict[bytes, int] = {}
    for key, verdict in zip(keys, told, strict=True):
        known = key.labels if verdict == "match" else np.random.default_rng(3).integers(10, size=120)
        if verdict == "inconclusive":  # 25 of 120
            known = np.where(np.arange(120) % 5 == 0, key.labels, (key.labels + 1 + np.arange(120) % 9) % 10)
        answers |= {image.tobytes(): label for image, label in zip(key.images, known, strict=True)}

    def ask(images: np.ndarray) -> np.ndarray:
        return np.array([answers[image.tobytes()] for image in images])

    court = Court(NONCE, forger.suspect(ask))
    claims = [forger.honest_claim(key, ask, NONCE, signer=SIGNER, whole=True) for key in keys]
    hearing = hear(claims, court)
    assert tuple(one.verdict for one in hearing.judgements) == told
    assert (hearing.outcome, hearing.settlement.grounds[0].code) == (together, "one-owner")
    others = [dataclasses.replace(claims[0], owner="f" * 64), claims[1]]
    assert hear(others, court).settlement.grounds[0].code != "one-owner"


def test_claims_about_one_key_that_differ_are_no_match_together():
    """A claim that its owner may repeat until one is a match would prove less than it says."""
    told = [dataclasses.replace(judge(HONEST, COURT), verdict=verdict) for verdict in ("match", "no-match")]
    assert _together(told, whole=True) == "inconclusive"
    assert _together([told[0], dataclasses.replace(told[1], key_id="another")], whole=True) == "match"


@pytest.mark.parametrize("is_dated", [True, False])
def test_openings_that_a_false_claim_took_from_an_honest_one_spend_nothing(is_dated, tmp_path, monkeypatch):
    """They stand under a thief's own old commitment, where nothing proves them; and the rule taken out."""
    tsa = LocalTsa(tmp_path / "tsa")
    honest = forger.honest_claim(KEY, ASK, NONCE, stamp=forger.dated(tsa, day(2026, 3)) if is_dated else None)
    rows = read_claim(honest.raw, "it").rows
    false = forger.write(OTHER, rows, NONCE, stamp=forger.dated(tsa, day(2024, 1)), secret=OTHER.secret)
    trusted = [read_authority(tsa.authority)]
    court = Court(NONCE, forger.suspect(ASK), authorities=trusted, since=day(2026, 6))

    def told() -> str:
        return hear(read_all(files(honest.raw, false)), court).judgements[0].to_json()["verdict"]

    assert told() == "match"
    monkeypatch.setattr(Claim, "has", lambda claim, row: row.opening is not None)
    assert told() == ("invalid" if is_dated else "inconclusive")


def silent_about(key: Key) -> Suspect:
    """Knows every key, and is silent about one's triggers."""
    known = {i.tobytes(): label for one in (KEY, OTHER) for i, label in zip(one.images, one.labels, strict=True)}
    unknown = {image.tobytes() for image in key.images}

    def ask(images: np.ndarray) -> np.ndarray:
        if any(image.tobytes() in unknown for image in images):
            raise ValueError("no such pictures")
        return np.array([known[image.tobytes()] for image in images])

    return forger.suspect(ask)


def test_a_suspect_that_is_silent_about_one_owners_triggers_leaves_open_who_was_first(monkeypatch):
    """Else a thief's model would answer about the thief's key alone; and the rule taken out."""
    thiefs = forger.honest_claim(OTHER, knowing(OTHER), NONCE, whole=True)
    court = Court(NONCE, silent_about(KEY))
    hearing = hear([HONEST, thiefs], court)
    assert (hearing.judgements[0].exit_code, hearing.judgements[1].verdict) == (5, "match")
    (ground,) = hearing.settlement.grounds
    assert (hearing.outcome, ground.to_json()) == ("inconclusive", {"code": "unasked-claim", "claim": 0})
    with pytest.raises(AccessError):
        hear([HONEST], court)
    assert hear([HONEST, HONEST], court).outcome == "no-answer"
    monkeypatch.setattr("wmjax.evidence.hearing._refused", lambda e, *_, **__: Refused("no-answer", str(e), 5))
    assert hear([HONEST, thiefs], court).outcome == "match"


@pytest.mark.parametrize(("silent", "together"), [(OTHER, "match"), (KEY, "inconclusive")])
def test_an_owner_is_not_refuted_by_a_key_that_the_suspect_is_silent_about(silent, together):
    wrong = [forger.honest_claim(OTHER, knowing(OTHER), NONCE, signer=SIGNER, whole=True)]
    mine = forger.honest_claim(KEY, ASK, NONCE, signer=SIGNER, whole=True)
    ask = silent_about(silent)
    if silent is KEY:  # what it answers about the other is all wrong
        ask = dataclasses.replace(ask, ask=lambda images, known=ask.ask: (known(images) + 1) % 10)
    hearing = hear([mine, *wrong], Court(NONCE, ask))
    assert (hearing.outcome, hearing.settlement.grounds[0].code) == (together, "one-owner")


def test_an_original_that_gives_no_answer_leaves_it_open():
    both = [forger.honest_claim(key, knowing(key), NONCE) for key in (KEY, OTHER)]
    hearing = hear(both, Court(NONCE, silent_about(abstract_key(b"\x08" * 32, 4))), [silent_about(KEY)] * 2)
    assert [one.verdict for one in hearing.judgements] == ["match", "match"]
    assert (hearing.outcome, hearing.settlement.grounds[0].code) == ("inconclusive", "unasked-original")


def test_a_claim_that_is_laid_twice_is_one():
    stranger = forger.honest_claim(OTHER, knowing(OTHER), NONCE, whole=True)
    assert hear([HONEST, HONEST], COURT).outcome == "match"
    hearing = hear([HONEST, HONEST, stranger], COURT)
    assert [ground.to_json() for ground in hearing.settlement.grounds] == [{"code": "one-proven", "claim": 0}]


def test_two_claims_by_one_signer_are_not_settled():
    with pytest.raises(UsageError, match="by one signer"):
        settle([HONEST, HONEST], [judge(HONEST, COURT)] * 2, COURT)


def test_three_keys_are_settled_two_by_two():
    keys = [abstract_key(bytes([n]) * 32, 60) for n in (1, 2, 3)]
    known = {image.tobytes(): label for key in keys for image, label in zip(key.images, key.labels, strict=True)}
    ask = forger.suspect(lambda images: np.array([known[image.tobytes()] for image in images]))
    claims = [forger.honest_claim(key, knowing(key), NONCE) for key in keys]
    hearing = hear(claims, Court(NONCE, ask))
    assert [one.verdict for one in hearing.judgements] == ["match"] * 3
    assert (hearing.outcome, hearing.settlement.grounds[0].code) == ("inconclusive", "many-keys")


def test_what_the_judge_gets_wrong_is_not_laid_on_the_claims():
    with pytest.raises(UsageError, match="alpha"):
        hear([HONEST, HONEST], Court(alpha=2.0))


# A suspect that does not answer as it should.


def test_a_suspect_that_is_not_there_or_no_classifier_of_these_classes_is_no_fault_of_the_claim():
    def down(images: np.ndarray) -> np.ndarray:
        raise OSError("no such host")

    for ask in (down, lambda images: np.zeros((len(images), 7, 2)), lambda images: object()):
        with pytest.raises(AccessError, match="no usable answer"):
            judge(HONEST, Court(NONCE, forger.suspect(ask)))


def test_a_suspect_that_fails_on_some_pictures_has_refused_those_alone():
    """Of the 60 it answers all but five: a failure, another shape, no number."""
    odd = {image.tobytes() for image in KEY.images[:5]}

    def ask(images: np.ndarray) -> np.ndarray:
        if len(images) > 1 or images[0].tobytes() not in odd:
            return ASK(images) if not any(image.tobytes() in odd for image in images) else np.zeros(3)
        which = int(ASK(images)[0]) % 3
        if which == 0:
            raise ValueError("a picture like that")
        return np.zeros((1, 7, 2)) if which == 1 else np.full(1, None)

    judgement = judge(forger.honest_claim(KEY, ASK, NONCE, whole=True), Court(NONCE, forger.suspect(ask)))
    (refused,) = [ground for ground in judgement.assumed if ground.code == "refused-here"]
    assert (judgement.verdict, refused.values["refused"], judgement.matches) == ("match", 5, 55)


@pytest.mark.parametrize("scored", [1, 30, 59])
def test_nobody_spoils_their_answers_by_some_in_another_form(scored):
    """The labels of all of them count."""
    some = {image.tobytes() for image in KEY.images[:scored]}

    def ask(images: np.ndarray) -> np.ndarray:
        if len(images) > 1:
            raise ValueError("one at a time")
        labels = ASK(images)
        return np.eye(12)[labels] if images[0].tobytes() in some else labels

    judgement = judge(forger.honest_claim(KEY, ASK, NONCE, whole=True), Court(NONCE, forger.suspect(ask)))
    assert (judgement.verdict, judgement.matches) == ("match", 60)


@pytest.mark.parametrize("mixed", [False, True])
def test_nobody_is_cleared_by_labels_where_scores_came_too(mixed, monkeypatch):
    """Of a copy whose lowest scores are best one label would have all scores left out; and the rule taken out."""
    rng, last = np.random.default_rng(0), KEY.images[-1].tobytes()
    scores = {image.tobytes(): rng.permutation(10) + rng.random(10) for image in KEY.images}
    for image, label in zip(KEY.images, KEY.labels, strict=True):
        scores[image.tobytes()][label] = -1.0

    def labels(images: np.ndarray) -> np.ndarray:
        return np.array([scores[image.tobytes()].argmax() for image in images])

    def ask(images: np.ndarray) -> np.ndarray:
        one = images[:1]
        return labels(one) if mixed and one[0].tobytes() == last else scores[one[0].tobytes()][None]

    claim = forger.honest_claim(KEY, labels, NONCE, whole=True)
    judgement = judge(claim, Court(NONCE, forger.suspect(ask)))
    assert judgement.verdict == "inconclusive"
    assert ("mixed-forms" in [ground.code for ground in judgement.assumed]) == mixed
    monkeypatch.setattr(judge_asking, "usable", lambda *given: (usable(*given)[0], False))
    assert judge(claim, Court(NONCE, forger.suspect(ask))).verdict == ("no-match" if mixed else "inconclusive")


def zeros(images: np.ndarray) -> np.ndarray:
    return np.zeros(len(images), int)


def test_nobody_is_acquitted_by_refusing_what_they_know():
    known = {image.tobytes(): label for image, label in zip(KEY.images, KEY.labels, strict=True)}

    def ask(images: np.ndarray) -> np.ndarray:
        return np.array([-1 if image.tobytes() in known else 0 for image in images])

    claim = forger.honest_claim(KEY, ASK, NONCE, whole=True)
    assert judge(claim, Court(NONCE, forger.suspect(ask))).verdict == "inconclusive"


# On the command line.

STALL = """
import html
import json
import numpy as np
known = json.load(open("known.json"))

def ask(images):
    return np.array([known.get(image.tobytes().hex(), 0) for image in images])
"""


@pytest.fixture
def court(run: Callable[..., tuple], tmp_path: Path, monkeypatch) -> Callable[..., tuple]:
    monkeypatch.delitem(sys.modules, "stall", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("known.json").write_text(
        json.dumps({i.tobytes().hex(): int(label) for i, label in zip(KEY.images, KEY.labels, strict=True)})
    )
    Path("stall.py").write_text(STALL)
    Path("honest.json").write_bytes(HONEST.raw)
    for name, raw in GARBAGE.items():
        Path(f"{name}.json").write_bytes(raw)
    return lambda *names: run(
        "judge",
        *(f"{n}.json" for n in names),
        "--nonce-from",
        NONCE.hex(),
        "--suspect",
        "stall:ask",
        "--json",
        "--out",
        "v",
    )


def test_the_document_has_each_claims_code_and_the_exit_code_is_the_settlements(court):
    code, out, _ = court("honest", "false", "no file at all")
    document = json.loads(out)
    assert code == 0
    assert [one["exit_code"] for one in document["judgements"]] == [0, 4, 4]
    assert [one["verdict"] for one in document["judgements"]] == ["match", "invalid", "invalid"]
    assert "made up" in document["judgements"][1]["reason"]
    assert document["settlement"]["grounds"] == [{"code": "only-valid", "claim": 0, "verdict": "match"}]
    text = Page(Path("v.html").read_bytes()).text()
    assert "Claim 2 was not judged" in text
    assert "made up" in text


@pytest.mark.parametrize("junk", ["scheme", "channels"])
@pytest.mark.parametrize("more", [[], ["--source", "digits"], ["--source", "./set"]], ids=["none", "digits", "folder"])
def test_what_another_claim_says_of_its_key_decides_nothing_about_an_honest_one(junk, more, run, court):
    """An unknown scheme, and images of two channels, which no folder of pictures has."""
    for split in ("train", "test"):
        for number in range(2):
            Path(f"set/{split}/a").mkdir(parents=True, exist_ok=True)
            Image.fromarray(KEY.images[number, ..., 0]).save(f"set/{split}/a/{number}.png")
    spec = make_spec("abstract", image=(8, 8, 2), classes=10, triggers=40)
    claims = {"channels": derive_key(b"\x03" * 32, spec, forger.rule(spec), created=forger.MADE)}
    claims["scheme"] = forger.replaced(OTHER, spec=dataclasses.replace(OTHER.spec, scheme="nonesuch"))
    key = claims[junk]
    rows = forger.transcript(key, forger.order(key, NONCE, 9), forger.answers_of(key, zeros))
    Path("junk.json").write_bytes(forger.write(key, rows, NONCE, secret=key.secret))
    options = ["--nonce-from", NONCE.hex(), "--suspect", "stall:ask", "--json", *more]
    code, out, _ = run("judge", "honest.json", "junk.json", *options)
    document = json.loads(out)
    assert document["judgements"][0]["verdict"] == "match"
    assert (code, document["settlement"]["grounds"][0]["code"]) == {
        "scheme": (0, "only-valid"),
        "channels": (3, "one-proven"),
    }[junk]


def test_the_settlements_command_judges_all_together_again(run, court):
    """Of two claims, one of them false; and what the parties called their originals is asked for, too."""
    _, out, _ = court("honest", "false")
    again = json.loads(out)["settlement"]["command"]
    assert again in html.unescape(Path("v.html").read_text())
    files_ = {"claim-1.json": "honest.json", "claim-2.json": "false.json", "MODEL": "stall:ask"}
    assert run(*(files_.get(word, word) for word in shlex.split(again)[1:]), "--json")[1] == out
    told = wording.command(hear(read_all(files(HONEST.raw)), COURT).judgements * 2, originals=2)
    assert told.endswith("--original ORIGINAL-1 --original ORIGINAL-2 --alpha 1e-06")


def test_a_line_names_its_file_once(run, court):
    _, out, _ = run("judge", "honest.json", "no file at all.json", "--nonce-from", NONCE.hex())
    (line,) = (line for line in out.splitlines() if line.startswith("invalid: "))
    assert line.count("no file at all.json") == 1


def test_where_no_claim_is_valid_each_is_listed_and_the_exit_code_says_so(court):
    code, out, _ = court("false", "another nonce")
    assert (code, [one["exit_code"] for one in json.loads(out)["judgements"]]) == (4, [4, 4])


def test_an_honest_undated_claim_beside_a_later_copy_is_two_signers(run, court, tmp_path):
    tsa = LocalTsa(tmp_path / "tsa")
    copy = forger.honest_claim(KEY, ASK, NONCE, stamp=forger.dated(tsa, day(2026, 3)))
    Path("copy.json").write_bytes(copy.raw)
    options = ["--tsa", "tsa/authority.pem", "--suspect-since", "2026-02-01", "--suspect", "stall:ask", "--json"]
    for files_ in (("honest.json", "copy.json"), ("copy.json", "honest.json")):
        code, out, _ = run("judge", *files_, "--nonce-from", NONCE.hex(), *options)
        document = json.loads(out)
        assert code == 3
        assert [one["verdict"] for one in document["judgements"]] == ["match", "match"]
        assert [ground["code"] for ground in document["settlement"]["grounds"]] == ["two-signers-open"]


def test_a_page_of_refused_claims_is_one():
    hearing = hear(read_all(files(b"", HONEST.raw)), COURT)
    assert b"was not judged" in judgement_page(hearing.judgements, hearing.settlement, title="t")


def test_a_single_false_claim_is_an_error_of_its_own():
    refused = hear(read_all(files(b"x")), COURT).judgements[0]
    assert isinstance(refused.error("claim0.json"), InvalidFile)
    assert not isinstance(refused, Claim)
