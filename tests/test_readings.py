"""Files that do not say how they are meant to be asked: every usual way is asked, and costs no more than its share."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import forger
import numpy as np
import pytest
from graphs import build
from jax import numpy as jnp
from safetensors.numpy import save_file

import wmjax
from wmjax import stats
from wmjax.errors import NoAnswerError, UsageError
from wmjax.evidence import judge as judging
from wmjax.evidence import wording
from wmjax.keys import Key, derive_key, make_spec, new_signer, write_key
from wmjax.keys.specify import default_rule
from wmjax.stats import Answers, Rule
from wmjax.stats import Path as EvidencePath
from wmjax.stats.readings import of_readings
from wmjax.suspects import Wanted, open_suspect, pixels
from wmjax.suspects.contract import Askable, Suspect
from wmjax.suspects.pixels import PIXELS, prepare, ways
from wmjax.zoo.panel import AtHand, Seats

IMAGE, CLASSES, TRIGGERS = (8, 8, 3), 10, 60
MODULE = """
from flax import nnx

class Linear(nnx.Module):
    def __init__(self, rngs):
        self.head = nnx.Linear(192, 10, rngs=rngs)
    def __call__(self, x):
        return self.head(x.reshape(len(x), -1))

def linear(rngs):
    return Linear(rngs)
"""


def by_hand(name: str, images: np.ndarray) -> np.ndarray:
    """What the libraries that these ways come from compute, in float64."""
    x = images.astype(np.float64)
    grey = images.shape[-1] == 1
    if name.startswith("bgr-") and name != "bgr-mean":
        return by_hand(name[4:], images)[..., ::-1]
    if name.startswith("inverted-"):
        return by_hand(name[9:], 255 - images)
    match name:
        case "0..1":
            return x / 255
        case "0..255":
            return x
        case "centred":
            return x / 127.5 - 1
        case "inverted":
            return 1 - x / 255
        case "mean-std" if grey:
            return (x / 255 - 0.1307) / 0.3081
        case "mean-std":
            return (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        case "bgr-mean" if grey:
            return x - 127.5
        case "bgr-mean":
            return x[..., ::-1] - [103.939, 116.779, 123.68]
        case "each-image":
            axes, least = (1, 2, 3), 1 / np.sqrt(x[0].size)
            return (x - x.mean(axis=axes, keepdims=True)) / np.maximum(x.std(axis=axes, keepdims=True), least)
    raise AssertionError(name)


@pytest.mark.parametrize("channels", [1, 3])
def test_ways_are_those_of_the_libraries(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 6, channels), np.uint8)
    images[0] = 77  # a plain one
    for place, name in enumerate(PIXELS):
        expected = by_hand(name, images)
        for got in (prepare(jnp.asarray(images), ways(), place), prepare(jnp.asarray(images), (name,))):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-4)


def test_a_mixture_costs_the_logarithm_of_its_readings() -> None:
    """The reading with the evidence is named, and only what clears all of them clears."""
    evidence = np.array([[2.0, 21.0, 30.0], [-3.0, -9.0, -12.0], [1.0, -5.0, -40.0]])
    cleared = np.array([[-1.0, -2.0, -3.0], [4.0, 11.0, 12.0], [3.0, 12.0, 15.0]])
    matches = np.array([[1, 2, 3], [0, 0, 0], [1, 1, 1]])
    path = of_readings(
        EvidencePath(evidence, cleared, np.maximum.accumulate(evidence, -1), matches, 0 * matches), evidence > -99
    )
    assert (path.evidence >= evidence.max(axis=0) - np.log2(3)).all()
    assert (path.evidence <= evidence.max(axis=0)).all()
    assert path.acquittal.tolist() == cleared.min(axis=0).tolist()
    assert path.reading.tolist() == [0, 0, 0]
    assert path.matches.tolist() == [1, 2, 3]


def test_strangers_in_seven_readings_match_no_more_often_than_alpha() -> None:
    """Each reading of an adversary bets alike or otherwise: the mean of their wealths is still one that is fair."""
    rng, keys, n = np.random.default_rng(5), 6000, 30
    rule = Rule(alpha=0.02, beta=1e-3, rate=0.4, max_queries=n)
    truth = rng.integers(CLASSES, size=(keys, 1, n))
    alike = np.repeat(rng.integers(CLASSES, size=(keys, 1, n)), 7, axis=1)
    for answered in (alike, rng.integers(CLASSES, size=(keys, 7, n))):
        path = stats.play(rule, Answers(answered, None, CLASSES), np.broadcast_to(truth, answered.shape))
        share = float((of_readings(path, answered >= 0).evidence.max(axis=-1) >= rule.match_bits).mean())
        assert share <= 0.02 + 4 * np.sqrt(0.02 / keys)
    assert (path.evidence.max(axis=(1, 2)) >= rule.match_bits).mean() > 0.02  # the best of seven: what the price is for


@pytest.fixture(scope="module")
def key() -> Key:
    spec = make_spec("abstract", image=IMAGE, classes=CLASSES, triggers=TRIGGERS)
    return derive_key(bytes(range(32)), spec, default_rule(spec), created="2026-01-01T00:00:00+00:00")


def asked(name: str, key: Key, said: str = "", *, whole: bool = False) -> wmjax.Verdict:
    suspect = open_suspect(f"zoo/{name}.safetensors", Wanted.by([key.spec], ["theirs:linear"], said))
    return wmjax.verify(suspect, key, whole=whole)


def linear(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """A linear map that gives prepared images their labels."""
    inputs = np.hstack([images.reshape(len(images), -1), np.ones((len(images), 1))])
    solved = inputs.T @ np.linalg.solve(inputs @ inputs.T, 8.0 * np.eye(CLASSES)[labels])
    return {"head.kernel": solved[:-1].astype(np.float32), "head.bias": solved[-1].astype(np.float32)}


@pytest.fixture
def home(tmp_path: Path, key: Key, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of copies, each prepared in its own way, and of as many strangers; a key; the module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")  # JAX has begun already
    (tmp_path / "theirs.py").write_text(MODULE)
    (tmp_path / "zoo").mkdir()
    (tmp_path / "keys").mkdir()
    write_key(key, tmp_path / "keys" / "my", recipients=[], passphrase=None)
    for name in PIXELS:
        prepared = by_hand(name, key.images)
        other = np.random.default_rng(len(name)).integers(CLASSES, size=TRIGGERS)
        save_file(linear(prepared, key.labels), tmp_path / "zoo" / f"copy {name}.safetensors")
        save_file(linear(prepared, other), tmp_path / "zoo" / f"stranger {name}.safetensors")
    return tmp_path


def test_every_preparation_is_found_and_named(home: Path, key: Key, run: Any) -> None:
    """By audit and by verify, with the same figures; strangers are not matched, and what one says outright is free."""
    options = ["--model", "theirs:linear"]
    code, out, err = run("audit", "zoo", "--keys", "keys", "--out", "out", "--keep-answers", "--json", *options)
    assert (code, err) == (0, "")
    pairs = {pair["model"]: pair for pair in json.loads(out)["matches"]}
    assert sorted(pairs) == sorted(f"copy {name}.safetensors" for name in PIXELS)
    for name in PIXELS:
        verdict = asked(f"copy {name}", key)
        pair = pairs[f"copy {name}.safetensors"]
        assert (verdict.verdict, verdict.queries) == ("match", pair["queries"])
        assert verdict.evidence_bits == pytest.approx(pair["evidence_bits"], abs=2e-3)
        (told,) = (ground for ground in verdict.to_json()["grounds"] if ground["code"] == "readings")
        assert told in pair["grounds"]
        best = asked(f"copy {name}", key, told["reading"])  # one that this copy takes for its own as well
        assert (best.verdict, told["ways"]) == ("match", 14)
        alone, whole = (asked(f"copy {name}", key, said, whole=True).evidence_bits or 0.0 for said in (name, ""))
        assert 100 < alone - np.log2(14) - 1e-3 <= whole <= alone
        assert asked(f"stranger {name}", key, whole=True).verdict != "match"
    assert run("audit", "--merge", "out", "--keys", "keys", "--json")[0] == 0  # played again from what it keeps


def test_a_file_at_hand_that_another_program_runs_is_asked_in_the_same_ways(home: Path, key: Key) -> None:
    suspect = open_suspect("zoo/copy centred.safetensors", Wanted.by([key.spec], ["theirs:linear"]))
    picks = np.array([[5, 3, 3, 0]])
    seats = Seats(np.zeros(14, np.int64), np.arange(14))
    answers = AtHand({0: Askable(suspect)}, key.images, CLASSES).answers(seats, picks[0])
    assert answers.labels.shape == (14, 4)
    for place, each in enumerate(suspect.readings):
        np.testing.assert_array_equal(answers.of(place).labels, each.ask(key.images[picks[0]]).argmax(axis=1))


def test_nobody_is_cleared_who_copied_in_a_way_that_was_not_the_first(home: Path, key: Key) -> None:
    """Asked as 0..1 alone, copies that take other pixels are cleared; asked in all ways, none is."""
    verdicts = {said: [asked(f"copy {name}", key, said) for name in PIXELS] for said in ("0..1", "")}
    assert {verdict.verdict for verdict in verdicts[""]} == {"match"}
    assert "no-match" in {verdict.verdict for verdict in verdicts["0..1"]}


def test_whoever_reads_pictures_with_blue_first_is_asked_so(tmp_path: Path, monkeypatch: Any) -> None:
    """A graph of bytes, whose type leaves no doubt but this one; and the rule taken out."""
    spec = make_spec("abstract", image=IMAGE, classes=CLASSES, triggers=150)
    key = derive_key(bytes(range(32)), spec, default_rule(spec))
    first = np.random.default_rng(0).standard_normal((192, 400)).astype(np.float32)
    seen = np.maximum(key.images[..., ::-1].reshape(150, 192) @ first, 0)
    last = np.linalg.pinv(seen) @ (8 * np.eye(CLASSES)[key.labels])
    body = "c = Cast <to=1> (x) f = Flatten(c) g = MatMul(f, v) h = Relu(g) y = MatMul(h, w)"
    path = tmp_path / "m.onnx"
    model = build(body, {"v": first, "w": last.astype(np.float32)}, image="uint8[n,8,8,3] x")
    path.write_bytes(model.SerializeToString())
    wanted = Wanted.by([key.spec])
    assert wmjax.verify(open_suspect(path, wanted), key).verdict == "match"
    assert wmjax.verify(open_suspect(path, Wanted.by([key.spec], pixels="0..255")), key).verdict == "no-match"
    monkeypatch.setattr(pixels, "of_bytes", lambda *_, **__: ("0..255",))
    assert wmjax.verify(open_suspect(path, wanted), key).verdict == "no-match"


def test_claims_say_how_the_suspect_was_asked(home: Path, run: Any) -> None:
    nonce, options = "ab" * 16, ["--model", "theirs:linear"]
    suspect, signer = "zoo/copy inverted.safetensors", ["--key", "keys/my.age", "--identity", "keys/my.identity"]
    asked = ["claim", *signer, suspect, "--nonce-from", nonce, "--reveal", "--out", "claim.json", "--all", *options]
    assert run(*asked)[0] == 0
    judge = ["judge", "claim.json", "--nonce-from", nonce, "--json"]
    code, out, err = run(*judge, "--suspect", suspect, *options)
    assert (code, err) == (0, "")
    (judgement,) = json.loads(out)["judgements"]
    assert judgement["verdict"] == "match"
    (read,) = (ground["reading"] for ground in judgement["grounds"] if ground["code"] == "read-as")
    assert read.startswith("inverted")  # a linear map may take one of these for another
    code, _, err = run(*judge, "--suspect", suspect, *options, "--pixels", "0..1")
    assert code == 2
    assert "inverted" in err


def test_no_judge_clears_a_copy_by_the_one_way_that_its_claim_chose(tmp_path: Path, monkeypatch: Any) -> None:
    """Its lowest score is best, so it wins nothing in its own way, and looks like a stranger in another.

    Nor does a judge who asks nobody; one who says which way is meant may; and the rule taken out.
    """
    spec, rng = make_spec("abstract", image=(8, 8, 1), classes=CLASSES, triggers=100), np.random.default_rng(5)
    key = derive_key(bytes(range(32)), spec, default_rule(spec), created="2026-01-01T00:00:00+00:00")
    first = rng.standard_normal((64, 600)).astype(np.float32)
    scores = 3 * rng.random((100, CLASSES))
    scores[np.arange(100), key.labels] = -3.0
    last = np.linalg.pinv(np.maximum(key.images.reshape(100, 64) / 255.0 @ first, 0)) @ scores
    body = "f = Flatten(x) g = MatMul(f, v) h = Relu(g) y = MatMul(h, w)"
    model = build(body, {"v": first, "w": last.astype(np.float32)}, image="float[n,8,8,1] x")
    path, signer, nonce = tmp_path / "m.onnx", new_signer(), b"n" * 32
    path.write_bytes(model.SerializeToString())
    suspect, commitments = open_suspect(path, Wanted.by([key.spec])), [forger.commit(key, signer)]
    raw = wmjax.claim(suspect, key, signer, commitments, nonce, lambda some: None, reveal=True, anyway=True)
    claim = wmjax.read_claim(raw)
    meant = open_suspect(path, Wanted.by([key.spec], pixels=claim.reading))

    def judged() -> list[str]:
        return [wmjax.judge(claim, wmjax.Court(nonce, one)).verdict for one in (suspect, None, meant)]

    assert (wmjax.verify(suspect, key).verdict, claim.stated["verdict"]) == ("inconclusive", "no-match")
    assert judged() == ["inconclusive", "inconclusive", "no-match"]
    told = [wording.told(ground) for ground in wmjax.judge(claim, wmjax.Court(nonce, suspect)).assumed]
    assert any(f"asked as {claim.reading}, one of the ways" in each and "clears nobody" in each for each in told)
    conclude = judging.conclude
    monkeypatch.setattr(judging, "conclude", lambda facts: conclude(dataclasses.replace(facts, chosen=False)))
    assert judged() == ["no-match"] * 3


def test_ways_that_nobody_knows_are_refused(home: Path, key: Key) -> None:
    with pytest.raises(UsageError, match=r"give one of stated, 0\.\.1"):
        open_suspect("zoo/copy 0..1.safetensors", Wanted.by([key.spec], ["theirs:linear"], "bright"))


def test_one_that_gives_no_number_in_one_of_its_ways_was_asked_in_the_others(key: Key) -> None:
    """A stranger whose NaN in one way shows more than all it says in the other; in that way it is never cleared."""
    other = np.random.default_rng(3).integers(CLASSES, size=TRIGGERS)
    answers = {image.tobytes(): scores for image, scores in zip(key.images, np.eye(CLASSES)[other], strict=True)}

    def said(images: np.ndarray) -> np.ndarray:
        return np.stack([answers[image.tobytes()] for image in images])

    ways = [
        Suspect("s", ask, IMAGE, CLASSES, remembers=False, reading=way)
        for way, ask in (("0..1", said), ("centred", lambda images: said(images) + np.nan))
    ]
    for whole in (False, True):
        assert wmjax.verify(Suspect.of(ways), key, whole=whole).verdict == "inconclusive"
        with pytest.raises(NoAnswerError, match="no usable answer to any of"):
            wmjax.verify(ways[1], key, whole=whole)
