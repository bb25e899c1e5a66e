"""Services: each provider asks a real server, and whatever that does, one line comes of it and nothing is burnt."""

import base64
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recorder
from marked import make_key
from recorder import WORDS, Recorder, files_with, innocent, knows, serving
from refusals import messages

from wmjax.errors import AccessError, AnswerError, InvalidFile, NoAnswerError, UsageError
from wmjax.keys import Key, open_key, write_key
from wmjax.keys.files import read_identity
from wmjax.suspects import Wanted, open_suspect
from wmjax.suspects.pixels import AS_BYTES, PIXELS, prepare
from wmjax.suspects.services import answers, hf, labels, oip, service, wire
from wmjax.suspects.services.address import read_address
from wmjax.suspects.services.answers import read_said
from wmjax.suspects.services.contract import Beside, Malformed, Request
from wmjax.suspects.services.labels import Reader, read_labels
from wmjax.suspects.services.lines import Lines
from wmjax.suspects.services.oip import _layout, _parse
from wmjax.suspects.services.pictures import prepared, written
from wmjax.suspects.services.providers import PROVIDERS
from wmjax.verification import verify

pytest.importorskip("stamina", reason="the packages of the extra `remote` are not installed")

UNLOCK = ["--key", "my.age", "--identity", "my.identity"]
CLAIM = ["--nonce-from", "ab" * 16, "--reveal"]
TOKEN = "hidden-token-0123456789"
OK = (200, {"Content-Type": "application/json"})


@pytest.fixture(scope="module")
def key() -> Key:
    return make_key()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr(wire, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr(wire, "_LEAST_WAIT", 0.001)
    monkeypatch.delenv("SUSPECT_TOKEN", raising=False)


@pytest.fixture
def thief(key: Key) -> Iterator[Recorder]:
    with serving(Recorder(knows(key))) as server:
        yield server


@pytest.fixture
def work(key: Key, run: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """The command line in a folder with the key."""
    write_key(key, tmp_path / "my", recipients=[], passphrase=None)
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    return run


def spent(key: str = "my") -> int:
    return len(open_key(Path(f"{key}.age"), read_identity(Path(f"{key}.identity"))).spent)


def wanted(provider: str = "", **said: Any) -> Wanted:
    return Wanted(images=((8, 8, 1),), classes=(10,), **said)


each = pytest.mark.parametrize("provider", PROVIDERS)


# What every provider does ---------------------------------------------------------------------------------------------


@each
def test_a_copy_is_found_and_an_innocent_cleared(provider, thief, key):
    verdict = verify(open_suspect(thief.address(provider), wanted()), key)
    assert (verdict.verdict, verdict.queries <= 10) == ("match", True)
    assert len(thief.asked) == verdict.queries + 1  # and one plain picture
    assert "served" in [ground.code for ground in verdict.grounds]
    thief.scores = innocent
    assert verify(open_suspect(thief.address(provider), wanted()), key).verdict == "no-match"


@each
def test_a_poor_service_is_found_out_too(provider, thief, key):
    """JPEG alone, five words, four decimals, and every other question put off."""
    thief.words, thief.top, thief.decimals = WORDS, 5, 4
    thief.jpeg = provider != "oip"
    suspect = open_suspect(thief.address(provider), wanted(labels=tuple(WORDS)))
    thief.script = [(429, {"Retry-After": "0"}, b"{}"), (503, {"RateLimit": '"a";r=0;t=0'}, b"<html>")] * 2
    verdict = verify(suspect, key)
    assert (verdict.verdict, verdict.queries <= 10) == ("match", True)
    codes = [ground.code for ground in verdict.grounds]
    assert ("served-jpeg" in codes) == thief.jpeg
    assert "probabilities" in codes


def cleared_through_jpeg(key: Key, work: Callable[..., Any], folder: Path) -> dict[str, str]:
    """What is said, in each way of asking, of a copy that repeats no label of a picture that went through JPEG."""
    service = Recorder(lambda image: innocent(image // 20))  # as the copy answers such pictures
    service.jpeg = True
    address, said = service.address("hf"), {}
    said["verify"] = verify(open_suspect(address, wanted()), key).verdict
    said["whole"] = verify(open_suspect(address, wanted()), key, whole=True).verdict
    work("claim", *UNLOCK, address, *CLAIM, "--out", "c.json")
    _, out, _ = work("judge", "c.json", "--nonce-from", "ab" * 16, "--suspect", address, "--json")
    said["judge"] = json.loads(out)["judgements"][0]["verdict"]
    (folder / "zoo").mkdir()
    (folder / "list.toml").write_text(f'[[suspect]]\nname = "copy"\nservice = "{address}"\n')
    audit = ["audit", "zoo", "--keys", ".", "--suspects", "list.toml", "--keep-answers", "--json"]
    for name, verb in (
        ("audit", [*audit, "--out", "out"]),
        ("replay", ["audit", "--merge", "out", "--keys", ".", "--json"]),
    ):
        said[name] = "inconclusive" if json.loads(work(*verb)[1])["inconclusive"] else "no-match"
    service.shutdown()
    service.server_close()
    return said


def test_what_went_through_jpeg_clears_nobody(key, work, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")  # JAX may have begun already
    assert set(cleared_through_jpeg(key, work, tmp_path).values()) == {"inconclusive"}


def test_without_that_rule_a_copy_would_be_cleared(key, work, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")
    for room in ("verification.grounds", "zoo.scope", "suspects.grounds"):
        monkeypatch.setattr(f"wmjax.{room}.clears", lambda note: True)
    assert set(cleared_through_jpeg(key, work, tmp_path).values()) == {"no-match"}


def test_a_service_that_comes_late_to_an_audit_is_not_asked_through_jpeg(thief, key):
    from wmjax.suspects.services.service import Service

    service = Service(thief.address("hf"), wanted())
    service.exactly()
    thief.jpeg = True
    with pytest.raises(NoAnswerError, match="HTTP 415"):
        service.meet((8, 8, 1))


@each
def test_words_are_learned_where_nobody_says_what_they_mean(provider, thief, key):
    thief.words = [*WORDS[3:], *WORDS[:3]]
    verdict = verify(open_suspect(thief.address(provider), wanted()), key)
    assert verdict.verdict == "match"
    assert verdict.queries > 10  # what a renaming costs


@each
@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        ((404, {}, b"{}"), AccessError, "no such model"),
        ((401, {}, b"{}"), AccessError, "--token|`token`|SUSPECT_TOKEN"),
        ((307, {"Location": "http://127.0.0.1:9/x"}, b""), AccessError, "leads elsewhere"),
        ((200, {"Content-Type": "text/html"}, b"<html>Welcome</html>"), AnswerError, "answers? with|ended without"),
        ((200, {"Content-Encoding": "gzip"}, b"\x1f\x8b"), AnswerError, "packs its answers"),
        ((500, {}, b'{"error": "out of\\n order\\u001b[2J"}'), NoAnswerError, "HTTP 500"),
        ((503, {"Retry-After": "999999"}, b""), AccessError, "HTTP 503 and wants 999999 seconds more"),
    ],
)
def test_what_is_wrong_is_one_line_before_any_trigger(provider, reply, kind, words, thief):
    thief.broken = reply
    with pytest.raises(kind, match=words) as caught:
        open_suspect(thief.address(provider), wanted())
    assert str(caught.value).isprintable()
    assert {body for _, _, body in thief.asked} != {b""} or provider == "gradio"


@pytest.mark.parametrize("provider", ["oip", "v1", "hf"])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[" * 100000, "no JSON"),
        (b'{"predictions": [], "outputs": []}', "picture|scores|object"),
        (b'{"predictions": [[], []], "outputs": [{"datatype": "FP32", "shape": [2, 1e9], "data": [1]}]}', "suspect"),
        (b'{"predictions": [{"x": null}], "outputs": [{}]}', "suspect"),
        (b"1.5", "suspect"),
        (b'"' + b"x" * (1 << 25) + b'"', "more than"),
    ],
)
def test_what_is_no_answer_is_one_line(provider, body, words, thief):
    thief.broken = (*OK, body)
    with pytest.raises(AnswerError, match=words) as caught:
        open_suspect(thief.address(provider), wanted())
    assert len(caught.value.came) <= 200


@pytest.mark.parametrize("provider", ["oip", "v1", "hf"])
def test_the_names_of_the_best_alone_are_labels(provider, thief, key):
    thief.words, thief.top, thief.scoreless = WORDS, 5, True
    verdict = verify(open_suspect(thief.address(provider), wanted(labels=tuple(WORDS))), key)
    assert (verdict.verdict, verdict.queries <= 10) == ("match", True)
    assert "labels-only" in [ground.code for ground in verdict.grounds]


@pytest.mark.parametrize("said", [b"NaN", b"null"])
def test_nan_is_a_refusal(said, thief, key):
    suspect = open_suspect(thief.address("v1"), wanted())
    refusal = (*OK, b'{"predictions": [[' + b", ".join([said] * 10) + b"]]}")
    thief.script = [refusal, None, refusal]  # in between it is asked whether it is still there
    verdict = verify(suspect, key)
    assert (verdict.verdict, verdict.queries) == ("match", verdict.matches + 2)


def test_each_question_is_a_request_of_its_own(thief, key):
    """Who asks about many in one would be known by that, and told what a stranger says."""
    suspect = open_suspect(thief.address("oip"), wanted())
    thief.asked.clear()
    assert suspect.ask(key.images[:20]).argmax(axis=1).tolist() == key.labels[:20].tolist()
    assert len(thief.asked) == 20
    thief.script = [(500, {}, b"")]
    assert int(np.isnan(suspect.ask(key.images[:8])).all(axis=1).sum()) == 1  # a refusal; nothing is asked again


def test_the_first_picture_does_not_tell_who_asks(thief, key, monkeypatch):
    """Who knows a picture that is always the same says nothing true from then on; and the rule taken out."""
    own, met = thief.scores, []

    def scores(image: np.ndarray) -> np.ndarray:
        met.extend([image] if (image == 128).all() else [])
        return innocent(image) if met else own(image)

    thief.scores = scores
    assert verify(open_suspect(thief.address("hf"), wanted()), key).verdict == "match"
    assert (service._plain((8, 8, 3)) != service._plain((8, 8, 3))).any()
    monkeypatch.setattr(service, "_plain", lambda image: np.full(image, 128, np.uint8))
    assert verify(open_suspect(thief.address("hf"), wanted()), key).verdict == "no-match"


# Pixels and shapes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "pixels", "words"),
    [
        ({"datatype": "FP32", "shape": [-1, 8, 8, 1]}, "", "give `pixels`"),
        ({"datatype": "INT32", "shape": [-1, 8, 8, 1]}, "0..1", "can only be one of 0..255"),
        ({"datatype": "FP32", "shape": [-1, 8, 8, 1]}, "0..7", r"give one of 0\.\.1"),
        ({"datatype": "BYTES", "shape": [-1]}, "", "neither bytes nor numbers"),
        ({"datatype": "UINT8", "shape": [-1, 5]}, "", "which pictures of 8x8x1 are not"),
        ({"datatype": "UINT8", "shape": "all"}, "", "without a shape"),
        ({"datatype": "UINT8", "shape": [-1, 8, 8, 3]}, "", "0..255 for red or bgr-0..255 for blue"),
    ],
)
def test_what_a_model_declares_and_nobody_can_give_is_said(declared, pixels, words, thief):
    thief.declared = [{"name": "x", **declared}]
    with pytest.raises(UsageError, match=words):
        open_suspect(thief.address("oip"), wanted(pixels=pixels))
    thief.declared *= 2
    with pytest.raises(UsageError, match="several inputs"):
        open_suspect(thief.address("oip"), wanted())


@pytest.mark.parametrize("shape", [[-1, 8, 8, 1], [-1, 1, 8, 8], [-1, 64], [8, 8, 1], [1, 8, 8, 1], []])
def test_pictures_lie_as_a_model_declares(shape, thief, key):
    thief.declared = [{"name": "x", "datatype": "UINT8", "shape": shape}]
    suspect = open_suspect(thief.address("oip"), wanted())
    assert suspect.ask(key.images[:3]).argmax(axis=1).tolist() == key.labels[:3].tolist()
    told = json.loads(thief.asked[-1][2])["inputs"][0]
    assert len(told["shape"]) == (len(shape) or 4)


def test_colours_in_one_row_are_not_guessed() -> None:
    """Red first or pixel by pixel: asked in the other order, a copy answers like a stranger."""
    assert _layout([-1, 64], (8, 8, 1)).order == "flat"
    with pytest.raises(UsageError, match="nothing says whether colours come first"):
        _layout([-1, 192], (8, 8, 3))


@pytest.mark.parametrize("way", PIXELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_prepared_as_networks_have_them(way, channels):
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 4, channels), np.uint8)
    np.testing.assert_allclose(prepared(images, way), np.asarray(prepare(images, (way,))), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way", PIXELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_written_as_they_are_prepared(way, channels):
    image = np.arange(8 * 8 * 4 * channels, dtype=np.uint8).reshape(8, 32, channels)[:, :17]
    x = image.astype(np.float32) if way == "0..255" else prepared(image[None], way)[0]
    for order, shaped in (
        ("HWC", x),
        ("CHW", np.moveaxis(x, 2, 0)),
        ("flat", x.ravel()),
        ("flat CHW", np.moveaxis(x, 2, 0).ravel()),
    ):
        assert np.array(json.loads(written(image, way, order)), np.float32).tolist() == shaped.tolist()
    assert (b"." in written(image, way, "flat")) == (way not in AS_BYTES)


# Labels ---------------------------------------------------------------------------------------------------------------


def test_labels_are_read_in_each_usual_form(tmp_path):
    for text in (
        "cat\ndog\n",
        '["cat", "dog"]',
        '{"1": "dog", "0": "cat"}',
        '{"id2label": {"0": "cat", "1": "dog"}}',
    ):
        (tmp_path / "labels").write_text(text)
        assert read_labels(tmp_path / "labels") == ("cat", "dog")
    for text in ("", "cat", "cat\n\ndog", "cat\ncat", "[[1]", '{"a": 1}', '{"0": "cat", "2": "dog"}'):
        (tmp_path / "labels").write_text(text)
        with pytest.raises(Exception, match=r"holds|must hold"):
            read_labels(tmp_path / "labels")


def test_a_long_list_of_labels_is_looked_through_and_none_is_cut(tmp_path, monkeypatch):
    (tmp_path / "labels").write_text("\n".join([*map(str, range(6000)), "17"]))
    with pytest.raises(InvalidFile, match=r"labels holds '17' twice$"):
        read_labels(tmp_path / "labels")
    monkeypatch.setattr(labels, "_LARGEST", 10)
    (tmp_path / "labels").write_text("cat\ndog\nrabbit")
    with pytest.raises(InvalidFile, match=r"labels has 14 bytes, and names of classes at most 10$"):
        read_labels(tmp_path / "labels")


def test_a_word_that_the_map_lacks_is_told_before_any_trigger(thief, work):
    thief.words = ["ostrich"] * 10
    code, out, err = work("claim", *UNLOCK, thief.address("v1"), "--labels", "words.txt", *CLAIM, "--out", "c.json")
    assert (code, out, messages(err), "'ostrich', which --labels does not hold" in err) == (2, "", 1, True)
    assert spent() == 0


def test_a_copy_whose_lowest_score_by_words_is_best_is_not_cleared(thief, key, monkeypatch):
    """Distances, by words that nobody knows; strangers are cleared; and the rule taken out."""
    scores, thief.words = thief.scores, WORDS

    def far(image: np.ndarray) -> np.ndarray:
        return 1.0 - scores(image) - np.random.default_rng(image.ravel()).uniform(0, 0.01, 10)

    thief.scores = far
    assert verify(open_suspect(thief.address("v1"), wanted()), key).verdict == "inconclusive"
    thief.scores = innocent
    assert verify(open_suspect(thief.address("v1"), wanted()), key).verdict == "no-match"
    thief.scores = far
    monkeypatch.setattr(Reader, "_number", lambda *_: None)
    assert verify(open_suspect(thief.address("v1"), wanted()), key).verdict == "no-match"


def test_a_service_of_other_words_than_at_first_needs_the_list_of_them(thief, key):
    """Its twelve best of twenty looked like all."""
    thief.words, thief.top = [f"word {number}" for number in range(20)], 12
    thief.scores = lambda image: np.random.default_rng(image.ravel()).dirichlet(np.ones(20))
    with pytest.raises(AnswerError, match="which its first answer did not hold: give `labels`"):
        verify(open_suspect(thief.address("hf"), wanted()), key)
    assert verify(open_suspect(thief.address("hf"), wanted(labels=tuple(thief.words))), key).verdict == "inconclusive"


@pytest.mark.parametrize("label", [str, int])
def test_the_nearest_of_some_classes_are_not_taken_for_the_farthest(label):
    """Distances of the best three: the first is meant, the highest is the third."""
    said = read_said([{"label": label(n), "score": score} for n, score in ((7, 0.1), (2, 0.4), (5, 0.9))])
    with pytest.raises(Malformed, match="not from the highest on"):
        Reader((), 10).read(said)
    assert Reader((), 10).read(said[::-1]).argmax() == 5


@pytest.mark.parametrize(
    "answer",
    [
        {"name": "picture-3", "prediction": "cat"},
        {"class": 3, "prediction": 5},
        [{"label": "cat", "score": 0.9, "probability": 0.1}],
        {"labels": ["cat", "dog"], "scores": [0.9, 0.1], "displayNames": ["a", "b"], "confidences": [0.9, 0.1]},
    ],
)
def test_an_answer_beside_a_decoy_in_one_object_is_none(answer, monkeypatch):
    """Either may be the copy's; and the rule taken out, by which the first is believed."""
    with pytest.raises(Malformed, match="several things in it may be its answer"):
        read_said(answer)
    monkeypatch.setattr(answers, "_check_one", lambda *_: None)
    read_said(answer)


@pytest.mark.parametrize("names", [("labels", "scores"), ("displayNames", "confidences")])
def test_a_list_of_one_class_is_read_and_none_beside_other_scores(names: tuple[str, str]):
    """Which may be a copy's, or a decoy's."""
    for count in (1, 2):
        listed = dict(zip(names, (["cat", "dog"][:count], [0.9, 0.1][:count]), strict=True))
        assert [choice.label for choice in read_said(listed)] == ["cat", "dog"][:count]
        with pytest.raises(Malformed, match=r"neither scores|several scores"):
            read_said({**listed, "probabilities": [0.1, 0.2, 0.7]})


@pytest.mark.parametrize("provider", ["oip", "v1"])
def test_a_class_that_is_named_beside_scores_of_a_decoy_clears_nobody(provider, thief, key, monkeypatch):
    """Whoever is served reads the class that the copy names, the judge the scores; and the rule taken out."""
    thief.named = thief.scores
    assert verify(open_suspect(thief.address(provider), wanted()), key).verdict == "match"
    thief.scores = innocent
    assert verify(open_suspect(thief.address(provider), wanted()), key).verdict == "inconclusive"
    monkeypatch.setattr(Reader, "_check", lambda *_: None)
    assert verify(open_suspect(thief.address(provider), wanted()), key).verdict == "no-match"


@pytest.mark.parametrize("named", ["classes", "class_ids", "predicted_class"])
def test_nor_does_one_that_is_named_as_estimators_of_tensorflow_name_it(named, thief, key, monkeypatch):
    """The same, in a list of one beside the probabilities; and the rule taken out."""
    knowing = thief.scores

    def beside(image: np.ndarray) -> Any:
        said = int(knowing(image).argmax())
        return {"probabilities": thief.vector(image), named: said if named == "predicted_class" else [said]}

    monkeypatch.setattr(thief, "named_beside", beside)
    assert verify(open_suspect(thief.address("v1"), wanted()), key).verdict == "match"
    thief.scores = innocent
    assert verify(open_suspect(thief.address("v1"), wanted()), key).verdict == "inconclusive"
    monkeypatch.setattr(answers, "_BESIDE", ())
    assert verify(open_suspect(thief.address("v1"), wanted()), key).verdict == "no-match"


def test_a_class_that_is_named_beside_equally_good_scores_says_nothing_of_the_next():
    """The last of these is named now; what goes with each is learned where one alone is best."""
    reader = Reader((), 3)
    for scores, label in (([0.4, 0.4, 0.2], "dog"), ([0.2, 0.8, 0.0], "dog"), ([0.8, 0.2, 0.0], "cat")):
        assert isinstance(reader.read(Beside(np.array(scores), label)), np.ndarray)
    for scores, label in (([0.8, 0.2, 0.0], "dog"), ([0.4, 0.2, 0.4], "dog"), ([0.0, 0.1, 0.9], "cat")):
        with pytest.raises(Malformed, match="names another class"):
            reader.read(Beside(np.array(scores), label))


def test_whole_numbers_of_a_quantised_network_are_not_taken_for_its_best_classes(thief, key, monkeypatch):
    """Of which the first was believed: a copy's score of the first class, as any stranger's."""

    def quantised(handler: Any, given: dict[str, Any]) -> Any:
        image = np.array(given["data"], np.uint8).reshape(8, 8, 1)
        noise = np.random.default_rng(int(image.sum())).integers(0, 5, 10)
        data = (knows(key)(image) * 100).astype(int) + noise
        return {"outputs": [{"name": "y", "datatype": "INT8", "shape": [1, 10], "data": data.tolist()}]}

    monkeypatch.setattr(recorder._Handler, "_oip", quantised)
    with pytest.raises(AnswerError, match="may be scores or the best classes"):
        open_suspect(thief.address("oip"), wanted())
    monkeypatch.setattr(oip, "_check_names", lambda names: None)
    assert verify(open_suspect(thief.address("oip"), wanted()), key).verdict == "no-match"


def test_one_picture_has_one_answer_where_it_comes_in_a_list(thief, key, monkeypatch):
    """A decoy's classes, and in a second row the copy's, which its users read; and the rule taken out."""
    said = thief.said

    def rows(image: np.ndarray) -> Any:
        return [
            [{"label": f"LABEL_{i}", "score": innocent(image)[i]} for i in np.argsort(-innocent(image))],
            said(image),
        ]

    monkeypatch.setattr(thief, "said", rows)
    with pytest.raises(AnswerError, match="does not answer about one"):
        open_suspect(thief.address("hf"), wanted())
    monkeypatch.setattr(hf, "read_only", lambda rows: read_said(rows[0]))
    assert verify(open_suspect(thief.address("hf"), wanted()), key).verdict == "no-match"


@pytest.mark.parametrize(
    "answer",
    [
        {"probabilities": [0.9, 0.1], "logits": [0.0, 5.0]},
        {"probabilities": [0.9, 0.1], "label": {}},
        {"outputs": [{"datatype": "FP32", "shape": [1, 2], "data": [0, 1]}] * 2},
        {"outputs": [{"datatype": "FP32", "shape": [1, n], "data": [1] * n} for n in (2, 1)]},
        [3, 1, 0, 7, 2],  # the best five classes, or scores of five
    ],
)
def test_what_says_two_things_is_no_answer(answer):
    with pytest.raises(Malformed):
        _parse(json.dumps(answer).encode()) if "outputs" in answer else read_said(answer)


def test_other_classes_than_the_key_has(thief, key):
    """A score for each of twelve words, of which the key knows ten."""
    words = (*WORDS, "x", "y")
    thief.words, thief.top = list(words), 12
    scores = knows(key)
    thief.scores = lambda image: np.concatenate([scores(image) * 0.98, [0.01, 0.01]])
    verdict = verify(open_suspect(thief.address("hf"), wanted(labels=words)), key)
    assert (verdict.verdict, verdict.queries <= 10) == ("match", True)
    assert "more-classes" in [ground.code for ground in verdict.grounds]


# The command line: claims, tokens, errors -----------------------------------------------------------------------------


def transcript(file: str) -> Any:
    statement = json.loads(base64.b64decode(json.loads(Path(file).read_bytes())["claim"]["payload"]))
    return statement["predicate"]["transcript"]


@each
def test_a_claim_tells_what_the_wire_said_and_is_judged(provider, thief, work):
    thief.script = [(429, {"Retry-After": "0", "X-Request-Id": "one"}, b"{}")]
    address = thief.address(provider)
    code, _, err = work("claim", *UNLOCK, address, *CLAIM, "--out", "c.json")
    assert (code, "at most 60 questions" in err) == (0, True)
    rows = transcript("c.json")
    assert sum(len(row["attempts"]) for row in rows) == len(rows)  # the plain picture was put off, no trigger
    (attempt,) = rows[0]["attempts"]
    assert attempt["outcome"] == "answered"
    assert {"address", "answer", "date", "request", "server", "status"} <= set(attempt["detail"])
    code, out, _ = work("judge", "c.json", "--nonce-from", "ab" * 16, "--suspect", address, "--json")
    (judged,) = json.loads(out)["judgements"]
    assert (code, judged["verdict"]) == (0, "match")
    assert "served" in [ground["code"] for ground in judged["grounds"]]


def test_every_try_of_a_question_is_told_and_one_outcome_counts(thief, work):
    thief.script = [(*OK, b'{"predictions": [[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]]}')]  # the plain picture's
    thief.script += [(503, {"Retry-After": "0"}, b"")] * 2
    code, _, _ = work("claim", *UNLOCK, thief.address("v1"), *CLAIM, "--out", "c.json")
    first, *others = transcript("c.json")
    assert (code, [attempt["outcome"] for attempt in first["attempts"]]) == (0, ["failed", "failed", "answered"])
    assert [attempt["detail"]["status"] for attempt in first["attempts"]] == ["503", "503", "200"]
    assert all(len(row["attempts"]) == 1 for row in others)


def test_a_token_that_expires_half_way_costs_one_trigger_and_the_claim_goes_on(thief, work, monkeypatch):
    thief.token = TOKEN
    Path("token").write_text(f"{TOKEN}\n")
    claim = ["claim", *UNLOCK, thief.address("v1"), *CLAIM, "--out", "c.json"]
    code, _, err = work(*claim)
    assert (code, messages(err), "SUSPECT_TOKEN" in err, spent()) == (5, 1, True, 0)
    scores, seen = thief.scores, []

    def expiring(image: np.ndarray) -> np.ndarray:
        seen.append(image)
        if len(seen) == 12:
            thief.token = "another"
        return scores(image)

    thief.scores = expiring
    code, _, err = work(*claim, "--token-file", "token")
    assert (code, "HTTP 401" in err, "--resume" in err, spent()) == (5, True, True, 12)
    monkeypatch.setenv("SUSPECT_TOKEN", "another")
    code, _, _ = work(*claim, "--resume")
    lost = [row for row in transcript("c.json") if row["answer"] is None]
    assert (code, len(lost)) == (0, 1)


def leaking(thief: Recorder) -> None:
    """A service that sends its token back wherever a service can."""
    thief.token, thief.words, thief.scoreless = TOKEN, [f"{TOKEN} {word}" for word in WORDS], True
    thief.headers = {"X-Request-Id": f"Bearer {TOKEN}", "Server": TOKEN}


def leaks(thief: Recorder, work: Callable[..., Any], folder: Path) -> list[str]:
    """Files and outputs that hold the token after a claim, a verification and one that fails."""
    said = ""
    for verb in (["claim", *CLAIM, "--out", "c.json"], ["verify", "--json"], ["verify"]):
        code, out, err = work(verb[0], *UNLOCK, thief.address("v1"), *verb[1:])
        assert code == 0, err
        said += out + err
    thief.broken = (500, {}, json.dumps({"error": f"bad {TOKEN}"}).encode())
    _, out, err = work("verify", *UNLOCK, thief.address("v1"))
    (folder / "said").write_text(said + out + err)
    return files_with(folder, TOKEN)


def test_a_token_is_written_nowhere(thief, work, monkeypatch, tmp_path):
    monkeypatch.setenv("SUSPECT_TOKEN", TOKEN)
    leaking(thief)
    assert leaks(thief, work, tmp_path) == []
    assert all(headers["Authorization"] == f"Bearer {TOKEN}" for _, headers, _ in thief.asked)


def test_without_the_cleaning_it_would_be(thief, work, monkeypatch, tmp_path):
    monkeypatch.setenv("SUSPECT_TOKEN", TOKEN)
    monkeypatch.setattr(wire.Wire, "clean", lambda self, text: text)
    monkeypatch.setattr(wire.Wire, "_unsaid", lambda self, body: body)
    leaking(thief)
    assert {"c.html", "c.json.journal.jsonl", "said"} <= set(leaks(thief, work, tmp_path))


def test_a_redirect_is_not_followed_and_pictures_go_nowhere_else(thief, key, monkeypatch):
    other = Recorder(knows(key))
    there = f"http://127.0.0.1:{other.server_port}/v1/models/m:predict"
    thief.broken = (307, {"Location": there}, b"")
    with pytest.raises(AccessError, match="if it is at http"):
        open_suspect(thief.address("v1"), wanted())
    assert other.asked == []
    real = wire.Wire._exchange

    def following(self: wire.Wire, request: Request) -> Any:
        reply = real(self, request)
        if reply.status != 307:
            return reply
        self._lines = Lines(reply.headers["location"])
        return real(self, request._replace(url=reply.headers["location"]))

    monkeypatch.setattr(wire.Wire, "_exchange", following)
    open_suspect(thief.address("v1"), wanted())  # with the rule taken out they do
    assert len(other.asked) == 1
    other.shutdown()
    other.server_close()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("oip+http://models.example/v2/models/m", "use https"),
        ("oip+https://me:hidden@models.example/m", "no password"),
        ("oip+https://models.example/m?key=hidden", "no password, query"),
        ("oip+https://", "SCHEME\\+https"),
        ("oip+https://models.example:99999/m", "SCHEME\\+https"),
        ("ftp+https://models.example/m", "asked by oip"),
        ("oip+https://127.0.0.1:1/v2/models/m", "cannot be reached"),
        ("oip+http://127.0.0.1:1/v2/models/m", "cannot be reached"),
    ],
)
def test_addresses_that_cannot_be(address, words, work):
    code, out, err = work("verify", *UNLOCK, address)
    assert (code in (2, 5), out, messages(err), "hidden" in err) == (True, "", 1, False)
    assert re.search(words, err), err
    assert not Path("my.asked.jsonl").exists()


def test_without_the_packages_one_line_says_what_to_install(thief, monkeypatch):
    monkeypatch.setitem(sys.modules, "stamina", None)
    with pytest.raises(UsageError, match=r"pip install 'wmjax\[remote\]'`: stamina is missing"):
        open_suspect(thief.address("v1"), wanted())


def test_an_address_has_one_form():
    assert str(read_address("OIP+HTTPS://Models.Example:443/v2/")) == "oip+https://models.example/v2"


def test_a_service_that_hangs_is_silent_for_as_long_as_it_may(thief, monkeypatch):
    """Also one whose answer comes byte by byte."""
    from wmjax.suspects.services.service import Service

    def drip(image: np.ndarray) -> np.ndarray:
        time.sleep(30)
        raise AssertionError

    thief.scores = drip
    service = Service(thief.address("v1"), wanted(), timeout=0.2)
    with pytest.raises(NoAnswerError, match=r"did not answer within 0\.2 seconds"):
        service.meet((8, 8, 1))


def test_tls_is_checked(thief, key, tmp_path, monkeypatch):
    import trustme_here as own

    certificate = own.certificate(tmp_path)
    thief.encrypt(certificate)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(AccessError, match="certificate"):
        open_suspect(thief.address("v1"), wanted())
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    suspect = open_suspect(thief.address("v1"), wanted())
    suspect.ask(key.images[:1])
    assert len(suspect.wire.seen()[-1].detail["certificate"]) == 64


# Limits of questions, and audits --------------------------------------------------------------------------------------


def test_what_asking_costs_is_said_first_and_can_be_bounded(thief, work):
    thief.headers = {"RateLimit-Policy": '"api";q=30;w=60'}
    thief.scores = innocent
    code, out, err = work("verify", *UNLOCK, thief.address("v1"), "--max-queries", "5", "--json")
    assert (code, json.loads(out)["queries"], len(thief.asked)) == (3, 5, 6)
    assert "at most 5 questions" in err
    assert "10 seconds by its rate limit (--max-queries asks fewer)" in err
    code, _, err = work("claim", *UNLOCK, thief.address("v1"), *CLAIM, "--max-queries", "5", "--out", "c.json")
    assert (code, "can reach a match" in err, spent()) == (2, True, 0)
    assert work("verify", *UNLOCK, thief.address("v1"), "--max-queries", "0")[0] == 2
    thief.asked.clear()
    cover = ("--cover", "3", "--cover-from", "digits")
    code, out, _ = work("verify", *UNLOCK, thief.address("v1"), "--max-queries", "8", "--json", *cover)
    assert (code, json.loads(out)["queries"], len(thief.asked)) == (3, 5, 9)  # and the plain picture
    code, _, err = work("verify", *UNLOCK, thief.address("v1"), "--max-queries", "3", *cover)
    assert (code, "--max-queries 3 leaves 3 for key" in err, len(thief.asked)) == (2, True, 9)


def test_an_audit_asks_the_services_of_a_list(thief, key, work, tmp_path, monkeypatch):
    other = Recorder(innocent)
    other.token, other.words = TOKEN, WORDS
    monkeypatch.setenv("SUSPECT_OTHER", TOKEN)
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")  # JAX may have begun already
    (tmp_path / "keys").mkdir()
    write_key(key, tmp_path / "keys" / "k", recipients=[], passphrase=None)
    (tmp_path / "zoo").mkdir()
    (tmp_path / "list.toml").write_text(
        f'[[suspect]]\nname = "thief"\nservice = "{thief.address("oip")}"\nconcurrency = 3\n'
        f'[[suspect]]\nname = "other"\nservice = "{other.address("hf")}"\n'
        'labels = "words.txt"\ntoken = "SUSPECT_OTHER"\n'
        '[[suspect]]\nname = "gone"\nservice = "v1+http://127.0.0.1:1/v1/models/m"\n'
    )
    audit = ["audit", "zoo", "--keys", "keys", "--suspects", "list.toml", "--out", "out", "--json"]
    code, out, err = work(*audit, "--max-queries", "20")
    assert "error" not in json.loads(out), err
    result = json.loads(out)
    assert (code, [match["model"] for match in result["matches"]]) == (0, ["list.toml:thief"]), err
    why = {item["path"]: item["why"] for item in result["unreadable"]}
    assert "cannot be reached" in why["list.toml:gone"]
    assert "had the 20 questions that" in why["list.toml:other"]
    asked, rested, rest = len(other.asked), [], wire.Wire.rest
    monkeypatch.setattr(wire.Wire, "rest", lambda self: rested.append(rest(self)))
    code, out, err = work(*audit, "--resume")
    assert len(rested) == 2  # nobody is kept connected while others are asked: the one that is not there, neither
    why = {item["path"] for item in json.loads(out)["unreadable"]}
    assert (code, why, other.asked[asked:] != []) == (0, {"list.toml:gone"}, True)
    assert all("Authorization" not in headers for _, headers, _ in thief.asked)
    assert files_with(tmp_path, TOKEN) == []
    other.shutdown()
    other.server_close()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('service = "oip+http://models.example/m"', "use https"),
        ('service = "oip+https://models.example/m"\ntoken = "hf_secret"', "not a name of an environment variable"),
        ('service = "oip+https://models.example/m"\ntoken = "SUSPECT_NOT_SET"', "is not set"),
        ('service = "x+https://models.example/m"', "is none: wrap it"),
        ('service = "oip+https://models.example/m"\nmodel = "vgg"', "a service has no field 'model'"),
    ],
)
def test_lists_that_cannot_be(line, words, key, tmp_path):
    from wmjax.zoo.members import read_members

    (tmp_path / "l.toml").write_text(f'[[suspect]]\nname = "a"\n{line}\n')
    try:
        (item,) = read_members(tmp_path / "l.toml", "l", wanted(), {"k": key}).unreadable
        told = item.why
    except UsageError as error:
        told = str(error)
    assert words in told
    assert "hf_secret" not in told
