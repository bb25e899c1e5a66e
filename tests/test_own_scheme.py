"""A scheme and a label policy of one's own: one record and one line each, and every room takes them."""

import json
from pathlib import Path

import audit_worker
import forger
import numpy as np
import pytest
import stripes

from wmjax.attacks.inversion import stamps_of
from wmjax.errors import UsageError
from wmjax.evidence.facts import Court
from wmjax.evidence.judge import judge
from wmjax.keys import POLICIES, SCHEMES, Key, LabelPolicy, Unlock, derive_key, make_spec, open_key
from wmjax.keys.derive import Stream
from wmjax.keys.specify import default_rule
from wmjax.suspects import from_callable
from wmjax.verification import verify
from wmjax.zoo.result import MATCH

KEYGEN = ["keygen", "--image", "8x8x1", "--classes", "10", "--triggers", "200", "--out", "mine"]
NONCE = bytes(32)


def opened(name: str) -> Key:
    return open_key(f"{name}.age", Unlock(identity=Path(f"{name}.identity").read_text()))


# A scheme


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line."""
    monkeypatch.setitem(SCHEMES, stripes.SCHEME.name, stripes.SCHEME)


def test_keygen_makes_a_key_of_it_and_its_parameter_is_an_option(run):
    assert "--width" in run("keygen", "--help")[1]
    assert "scheme stripes: pixels of a stripe" in " ".join(run("keygen", "--help")[1].split())
    code, out, _ = run(*KEYGEN, "--scheme", "stripes", "--width", "2", "--json")
    assert (code, json.loads(out)["triggers"]) == (0, 200)
    key = opened("mine")
    assert (key.spec.scheme, dict(key.spec.parameters)) == ("stripes", {"width": 2})
    np.testing.assert_array_equal(key.images[..., ::2, :], key.images[..., 1::2, :])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--scheme", "stripes", "--width", "0"], "--width 0: must be a whole number in 1..64"),
        (["--scheme", "stripes", "--width", "wide"], "--width 'wide': must be a whole number in 1..64"),
        (["--scheme", "stripes", "--sigma", "3"], "scheme stripes has no parameter --sigma"),
        (["--scheme", "abstract", "--width", "3"], "scheme abstract has no parameter --width"),
        (["--scheme", "stripes", "--paper"], "scheme stripes has no variant in the paper"),
        (["--scheme", "stripes", "--source", "digits"], "scheme stripes takes no --source"),
    ],
)
def test_what_it_cannot_be_is_refused_in_one_line(options, says, run):
    code, _, error = run(*KEYGEN, *options)
    assert (code, error.count("\n")) == (2, 1)
    assert says in error
    assert not list(Path().iterdir())


def test_its_key_is_derived_sealed_and_opened(run):
    run(*KEYGEN, "--scheme", "stripes")
    key = opened("mine")
    again = derive_key(key.secret, key.spec, key.commitment.rule, created=key.commitment.created)
    assert again.commitment == key.commitment
    np.testing.assert_array_equal(again.images, key.images)


def test_verification_and_the_judge_take_it():
    spec = make_spec("stripes", image=(8, 8, 1), classes=10, triggers=200)
    key = derive_key(bytes(range(32)), spec, default_rule(spec), created="2025-01-01T00:00:00+00:00")
    told = {image.tobytes(): label for image, label in zip(key.images[::-1], key.labels[::-1], strict=True)}
    marked = from_callable(lambda images: np.array([told[image.tobytes()] for image in images]), "marked")
    assert verify(marked, key).verdict == "match"
    assert verify(forger.suspect(forger.innocent()), key).verdict == "no-match"
    claim = forger.honest_claim(key, marked.ask, NONCE, whole=True)
    assert judge(claim, Court(nonce=NONCE, suspect=marked)).verdict == "match"


def test_inversion_asks_the_scheme_whether_its_triggers_share_a_stamp(monkeypatch):
    spec = make_spec("stripes", image=(8, 8, 1), classes=10, triggers=30, labels="fixed")
    key = derive_key(bytes(range(32)), spec, default_rule(spec))
    found = {}
    for stamp in (False, True):
        monkeypatch.setitem(SCHEMES, "stripes", stripes.SCHEME._replace(stamp=stamp))
        found[stamp] = stamps_of(spec, key.images, key.labels, np.zeros((8, 8, 1)))
    assert [len(found[stamp]) for stamp in (False, True)] == [30, 1]
    np.testing.assert_allclose(found[True][0], found[False].mean(axis=0), rtol=1e-6)


# A label policy


def _draw(secret: bytes, spec, at) -> np.ndarray:
    drawn = [Stream(secret, "label/lower", i).integers(spec.classes // 2, 1)[0] for i in at]
    return np.array(drawn, np.int32)


LOWER = LabelPolicy(
    "lower", "the lower half of the classes, by calibration", evidence="ranked/1", paper=False, draw=_draw
)


@pytest.fixture
def lower(monkeypatch: pytest.MonkeyPatch) -> Key:
    monkeypatch.setitem(POLICIES, LOWER.name, LOWER)
    spec = make_spec("abstract", image=(8, 8, 1), classes=10, triggers=60, labels="lower")
    return derive_key(bytes(range(32)), spec, default_rule(spec, 0.05), created="2025-01-01T00:00:00+00:00")


def test_keygen_makes_a_key_with_its_labels(lower, run):
    assert "lower: the lower half of the classes" in " ".join(run("keygen", "--help")[1].split())
    assert run(*KEYGEN, "--labels", "lower")[0] == 0
    labels = opened("mine").labels
    assert (labels.min(), labels.max()) == (0, 4)


def test_without_exact_evidence_a_verdict_is_by_calibration(lower):
    marked = forger.suspect(forger.knowing(lower))
    verdict = verify(marked, lower)
    assert (verdict.verdict, verdict.evidence_bits, verdict.p_binomial) == ("match", None, None)
    assert verdict.p_calibrated == 1 / 100
    assert verify(forger.suspect(forger.innocent()), lower).verdict == "inconclusive"  # few triggers a label


def test_an_audit_ranks_its_key_among_null_models(lower):
    keys = audit_worker.keys((30,), alpha=0.1, labels="lower")
    suspects = audit_worker.zoo(audit_worker.tables(keys, np.array([[1.0], [0.0]])))
    nulls = audit_worker.zoo(audit_worker.tables(keys, np.zeros((60, 1)), seed=9), "null")
    result = audit_worker.audited(suspects, keys, nulls=nulls, fwer=0.5)
    assert [finding.verdict == "match" for finding in result] == [True, False]
    assert np.isnan(result.bits).all()
    assert {"code": "calibrated-labels", "labels": "lower"} in [ground.to_json() for ground in result.grounds[0, 0]]
    assert not (audit_worker.audited(suspects, keys, fwer=0.5).outcomes == MATCH).any()


def test_without_exact_evidence_there_is_no_claim(lower):
    with pytest.raises(UsageError, match="a key with lower labels has no exact evidence"):
        claimed(lower)


def claimed(key: Key) -> bytes:
    from wmjax.evidence.claimant import claim

    signer = forger.new_signer()
    suspect = forger.suspect(forger.knowing(key))
    return claim(suspect, key, signer, [forger.commit(key, signer)], NONCE, lambda asked: None)
