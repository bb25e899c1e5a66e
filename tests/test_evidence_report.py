"""The page of a claim, a verdict and a dispute: what it says, what it never lets through, and what it needs."""

import base64
import dataclasses
import hashlib
import io
import re
import subprocess
import sys
import unicodedata
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_audit_report import HOSTILE

from wmjax.evidence.judgement import REFUSED, SPENT, Judgement, Settlement, Shown
from wmjax.report.evidence import LONGEST, PICTURES, judgement_page, recheck_commands

CLAIM = "c1" * 32
INLINE = {"a", "bdi", "code", "em", "i", "span", "strong", "sup"}
VOID = {"meta", "img", "br", "link", "input", "rect", "path"}


def shown(
    answers: list[int], labels: list[int] | None = None, shape: tuple[int, int, int] = (8, 8, 1)
) -> tuple[Shown, ...]:
    """Triggers 7, 8, ... with random pictures; secret labels are 3 unless told."""
    rng = np.random.default_rng(0)
    return tuple(
        Shown(7 + i, None if answer == SPENT else rng.integers(0, 256, shape, np.uint8), label, answer)
        for i, (answer, label) in enumerate(zip(answers, labels or [3] * len(answers), strict=True))
    )


def judged(answers: list[int], bits: list[float] | None = None, **changes: Any) -> Judgement:
    """A match with nothing missing, 3 bits a trigger; `changes` replace attributes of it."""
    path = np.array(bits if bits is not None else 3.0 * np.arange(1, len(answers) + 1))
    values: dict[str, Any] = {
        "verdict": "match",
        "headline": "The suspect knows the secret labels.",
        "proven": ("The claim is signed.", "The nonce picked the triggers."),
        "assumed": ("The authority's clock was right.",),
        "missing": (),
        "suspect": "shop/net.onnx",
        "key_id": "ab" * 32,
        "owner": "0f" * 32,
        "evidence_bits": float(path[-1]),
        "needed_bits": 19.931568,
        "alpha": 1e-6,
        "asked_by": "judge",
        "queries": sum(answer != SPENT for answer in answers),
        "matches": sum(answer == 3 for answer in answers),
        "triggers": 200,
        "path": path,
        "shown": shown(answers),
        "dates": (("The commitment was stamped.", "2026-01-01T00:00:00Z"), ("Asked.", "2026-03-01T00:00:00Z")),
        "digests": {"claim": CLAIM, "commitment": "c0" * 32},
        "command": "wmjax judge claim.json --suspect MODEL --alpha 1e-06",
    }
    return Judgement(**(values | changes))


class Page(HTMLParser):
    """Elements with their attributes, and the text of each element with a class or id, by that."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[tuple[str, set[str]]] = []
        self.by: dict[str, list[str]] = {}
        self.style = ""
        self.feed(html.decode())
        assert not self.open  # every element was closed

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        names = {tag, *(dict(attrs).get("class") or "").split(), dict(attrs).get("id") or ""} - {""}
        for name in names:
            self.by.setdefault(name, []).append("")
        if tag not in INLINE:
            self.handle_data(" ")
        if tag not in VOID:
            self.open.append((tag, names))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1][0] == "style":
            self.style += data
            return
        for name in set().union(*(names for _, names in self.open)):
            self.by[name][-1] += data

    def text(self, name: str = "body") -> str:
        """What stands in the elements with this tag, class or id, with single spaces."""
        return " ".join(" ".join(self.by.get(name, [])).split())


def page(*judgements: Judgement, settlement: Settlement | None = None, title: str = "a claim") -> Page:
    return Page(judgement_page(judgements, settlement, title=title))


def pixels(source: str | None) -> np.ndarray:
    assert source
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,")))))


def test_match_says_verdict_first_and_that_nothing_is_missing() -> None:
    seen = page(judged([3] * 14))
    assert re.match("a claim Verdict: match The suspect knows the secret labels. evidence 42.00 of 19.93", seen.text())
    assert seen.by["h1"] == ["The suspect knows the secret labels."]
    assert "reached at trigger 7" in seen.text("facts")
    assert "triggers asked 14 of 200 in the key" in seen.text("facts")
    assert "14 of 14" in seen.text("facts")
    assert "1 in 1,000,000" in seen.text("facts")
    assert "the judge" in seen.text("facts")
    assert "Nothing that a match needs is missing." in seen.text("missing")
    assert "The nonce picked the triggers." in seen.text("proven")
    assert "clock was right" in seen.text("assumed")
    assert "alarm" not in seen.by
    assert "some" not in seen.by
    assert "The 42 bits found here: 1 in 10¹²." in seen.text("curve")
    assert "not the chance that the accused is innocent" in seen.text("curve")


def test_what_is_missing_cannot_be_overlooked() -> None:
    lacks = tuple(f"Proof number {i}: give --proof-{i}." for i in range(5))
    claim = judged([3, 1, REFUSED, SPENT], [1.0, -2.0, -3.0, -4.5], verdict="inconclusive", missing=lacks)
    seen = page(dataclasses.replace(claim, asked_by="claimant", headline="Not shown."))
    assert seen.text("alarm").startswith("5 things are not proven by anybody")
    assert seen.text().index("5 things are not proven") < seen.text().index("-4.50 of 19.93 bits")
    assert all(words in seen.text("some") for words in lacks)
    assert ("a", {"href": "#missing-0"}) in seen.tags
    assert "missing-0" in seen.by
    assert "not reached" in seen.text("facts")
    assert "the claimant its answers are the claimant's own record" in seen.text("facts")
    assert "refused 1 count against" in seen.text("facts")
    assert "spent 1 count against" in seen.text("facts")
    assert 'never means "not stolen"' in seen.text()
    assert "bits found here" not in seen.text()
    assert "if what is listed as not proven is supplied" in seen.text("curve")
    one = page(judged([3], verdict="inconclusive", missing=lacks[:1]))
    assert one.text("alarm").startswith("1 thing is not proven")


def test_no_match() -> None:
    seen = page(judged([1] * 5, [-1.0, -2.0, -4.0, -8.0, -1e3], verdict="no-match", headline="No."))
    assert seen.text("word") == "Verdict: no-match"
    assert "the answers themselves are not enough for a match" in seen.text("missing")
    assert "a student distilled from a marked model" in seen.text()
    assert "The curve falls to -1000 bits: cut off" in seen.text("svg")


def test_gallery_tells_the_four_fates_apart_without_colour() -> None:
    triggers = shown([3, 2, REFUSED, SPENT], [3, 3, 3, 0])
    seen = page(judged([3, 2, REFUSED, SPENT], shown=triggers))
    texts = [" ".join(text.split()) for text in seen.by["figcaption"]]
    assert texts == [
        "✓ hittrigger 7 secret 3 answer 3",
        "✗ misstrigger 8 secret 3 answer 2",
        "? refusedtrigger 9 secret 3 answer none",
        "- spenttrigger 10",  # its label is not known here
    ]
    assert seen.text("closed") == "not shown"
    images = [a["src"] for tag, a in seen.tags if tag == "img"]
    assert len(images) == 3
    assert triggers[1].image is not None
    np.testing.assert_array_equal(pixels(images[1])[::8, ::8], triggers[1].image[..., 0])
    assert not page(judged([3])).by.get("miss")


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 5), (8, 8, 1), (4, 4, 2), (224, 224, 3), (1, 500, 4)])
def test_pictures_of_any_form(shape: tuple[int, int, int]) -> None:
    triggers = shown([3], shape=shape)
    source = next(a["src"] for tag, a in page(judged([3], shown=triggers)).tags if tag == "img")
    picture = pixels(source)
    assert picture.ndim == (3 if shape[2] == 3 else 2)
    assert max(picture.shape[:2]) <= 96
    assert triggers[0].image is not None
    corner = triggers[0].image[0, 0]
    np.testing.assert_array_equal(picture[0, 0], corner if shape[2] == 3 else corner.mean().round())


def test_long_claims_are_counted_and_small_enough() -> None:
    answers = [3] * PICTURES + [3] * 30 + [REFUSED] * 9 + [1]
    raw = judgement_page([judged(answers, shown=shown(answers, shape=(32, 32, 3)))], title="t")
    assert len(raw) < 1 << 20
    seen = Page(raw)
    assert len(seen.by["figure"]) == PICTURES
    assert "And more that are not drawn here: 30 hit, 1 miss, 9 refused." in seen.text()
    long = judgement_page([judged([REFUSED, SPENT] * 20_000, shown=shown([REFUSED, SPENT] * 20_000))], title="t")
    assert len(long) < 1 << 20


def test_curve() -> None:
    bits = [4.0, 2.0, 25.0, 23.0, 30.0]
    seen = page(judged([3, 1, REFUSED, SPENT, 3], bits, verdict="match"))
    assert [tag for tag, _ in seen.tags].count("polyline") == 1
    line = next(a["points"] for tag, a in seen.tags if tag == "polyline") or ""
    places = [tuple(map(float, pair.split(","))) for pair in line.split()]
    paths = {(a.get("class") or "").split()[0]: a["d"] or "" for tag, a in seen.tags if tag == "path" and "class" in a}
    limit = re.fullmatch(r"M46 ([\d.]+)H500", paths["limit"])
    assert limit
    heights = np.interp([0.0, *bits], [0.0, 19.931568], [places[0][1], float(limit[1])])  # even up to the line
    np.testing.assert_allclose([y for _, y in places][:3], heights[:3], atol=0.11)
    assert [y < float(limit[1]) for _, y in places] == [False, False, False, True, True, True]
    np.testing.assert_allclose(np.diff([x for x, _ in places]), (500 - 46) / 5, atol=0.11)
    drawn = [(a.get("class"), a["d"]) for tag, a in seen.tags if tag == "path" and "mark" in (a.get("class") or "")]
    marks = {name: re.match(r"M([\d.]+) ([\d.]+)", d or "") for name, d in reversed(drawn)}
    reached, refused, spent = (marks[f"{name} mark"] for name in ("reached", "refused", "spent"))
    assert reached
    assert refused
    assert spent
    assert (float(reached[1]), float(reached[2])) == places[3]
    assert abs(float(refused[1]) - places[3][0]) <= 0.5
    assert abs(float(spent[1]) - places[4][0]) <= 0.5
    assert "trigger 3: enough for a match, 19.93 bits" in seen.text("svg")
    assert "reached mark" not in str(page(judged([3])).tags)


def test_many_points_keep_the_ends_of_the_curve() -> None:
    bits = np.zeros(30_000)
    bits[12_345], bits[23_457] = 500.0, -100.0
    seen = page(judged([3] * 30_000, list(bits), shown=()))
    line = next(a["points"] for tag, a in seen.tags if tag == "polyline") or ""
    heights = [float(pair.split(",")[1]) for pair in line.split()]
    assert len(heights) < 2100
    assert (min(heights), max(heights)) == (12.0, 236.0)


def test_one_refused_trigger_and_no_date() -> None:
    seen = page(judged([REFUSED], [-3.3], verdict="inconclusive", dates=(), proven=(), assumed=(), digests={}))
    assert "No date is known." in seen.text()
    assert "Nothing." in seen.text("proven")
    assert "must print the digest that stands above" in seen.text("check")


def test_dates_in_order_with_the_time_between() -> None:
    strange = (("no time", "long ago"), ("no offset", "2026-03-01T00:00:00"), ("offset", "2026-03-01T00:00:00Z"))
    seen = page(judged([3], dates=judged([3]).dates + strange))
    assert "2026-01-01T00:00:00Z The commitment was stamped." in seen.text("dates")
    assert "2026-03-01T00:00:00Z 59 days later Asked. long ago no time" in seen.text("dates")
    assert seen.text("dates").count("later") == 1


def test_digests_in_full_and_commands() -> None:
    claim = judged([3])
    seen = page(claim)
    for value in (claim.key_id, claim.owner, *claim.digests.values()):
        assert value in seen.text("digests")
    lines = [line for _, line in recheck_commands(claim)]
    assert lines == [
        "sha256sum claim.json",
        claim.command,
    ]
    assert [line.strip() for line in seen.by["pre"]] == lines
    assert f"must print {CLAIM}" in seen.text("check")
    assert "wmjax/evidence/FORMAT.md" in seen.text()
    assert "it proves nothing" in seen.text()
    assert all(
        line in lines for _, line in recheck_commands(dataclasses.replace(claim, digests={"claim": "$(reboot)"}))
    )


@pytest.mark.parametrize(
    ("alpha", "words"), [(1e-6, "1 in 1,000,000"), (2.0**-20, "1 in 1,048,576"), (0.3, "0.3"), (1e-40, "1 in 10⁴⁰")]
)
def test_level(alpha: float, words: str) -> None:
    seen = page(judged([3], alpha=alpha, needed_bits=-float(np.log2(alpha))))
    assert f"chance of a false match {words} at most" in seen.text("facts")


def test_dispute() -> None:
    first = judged([3] * 14, headline="The owner's.")
    second = judged([3] * 3, verdict="inconclusive", headline="The thief's.", missing=("A date: stamp it.",))
    seen = page(first, second, settlement=Settlement(1, ("Its stamp is older.",)), title="a dispute")
    assert seen.by["h1"] == ["Claim 2 came first: its owner marked the model before the other."]
    assert seen.text("settled") == "Its stamp is older."
    assert seen.text("tbody") == f"1 match 42 of 19.9 0 {first.owner} 2 (first) inconclusive 9 of 19.9 1 {second.owner}"
    assert "Claim 1: The owner's." in seen.text("h2")
    assert "Claim 2: The thief's." in seen.text("h2")
    assert {"missing-1", "missing-2"} <= set(seen.by)
    assert ("a", {"href": "#missing-2"}) in seen.tags
    still = page(first, second, settlement=Settlement(None, ("Neither is dated.",)))
    assert still.by["h1"] == ["Who marked the model first stays open."]
    assert "(first)" not in still.text()
    assert page(first, second).by["h1"] == ["2 claims, each judged by itself."]


def hostile() -> Judgement:
    """A judgement whose every text is hostile."""
    texts = tuple(HOSTILE)
    return judged(
        [3],
        headline=" ".join(texts[:4]),
        proven=texts,
        assumed=texts,
        missing=texts,
        suspect=HOSTILE[0] + HOSTILE[3],
        key_id=HOSTILE[1],
        owner=HOSTILE[2],
        dates=tuple((text, text) for text in texts),
        digests={text: text for text in texts},
    )


@pytest.mark.parametrize("settlement", [None, Settlement(0, tuple(HOSTILE))])
def test_hostile_strings_stay_text(settlement: Settlement | None) -> None:
    raw = judgement_page([hostile()] * (2 if settlement else 1), settlement, title=HOSTILE[0])
    seen, text = Page(raw), raw.decode()
    count = 2 if settlement else 1
    tags = [tag for tag, _ in seen.tags]
    assert "script" not in tags
    assert tags.count("img") == count
    assert not [c for c in text if unicodedata.category(c) in ("Cf", "Cs", "Cc") and c != "\n"]
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "safe\\u202egnp.exe" in seen.text("proven")
    assert HOSTILE[0] in seen.text("missing")
    assert text.count("<bdi>") >= count * (3 * len(HOSTILE) + 2)


def test_a_long_name_hides_nothing() -> None:
    name = "a" * 2500 + "b" * 2500
    seen = page(judged([3], suspect=name, headline=f"Start {name} end.", missing=(f"This {name} lacks.", "And that.")))
    assert seen.by["h1"][0].startswith("Start aaa")
    assert seen.by["h1"][0].endswith("bbb end.")
    assert "lacks." in seen.text("some")
    assert "And that." in seen.text("some")
    assert max(len(word) for word in seen.text().split()) <= LONGEST


def test_nothing_is_loaded_and_nothing_runs() -> None:
    seen = page(hostile(), judged([3, 1, REFUSED, SPENT]), settlement=Settlement(None, ()))
    policy = next(a["content"] for _, a in seen.tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    digest = base64.b64encode(hashlib.sha256(seen.style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;")
    assert "unsafe" not in policy
    assert not {tag for tag, _ in seen.tags} & {"script", "iframe", "object", "embed", "link", "form", "base"}
    assert not [a for _, attributes in seen.tags for a in attributes if a == "style" or a.startswith("on")]
    for _, attributes in seen.tags:
        assert (attributes.get("src") or "data:image/png").startswith("data:image/png")
        assert re.fullmatch(r"#missing-\d", attributes.get("href") or "#missing-0")
    assert not re.search(r"url\(|@import", seen.style)


def test_same_page_for_the_same_judgement() -> None:
    assert judgement_page([judged([3, 1])], title="t") == judgement_page([judged([3, 1])], title="t")


def test_made_without_jax() -> None:
    program = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"jax", "jaxlib", "flax", "sklearn", "grain", "orbax", "tensorflow_datasets", "optax"}:
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import numpy as np
from wmjax.evidence.judgement import Judgement, Shown
from wmjax.report.evidence import judgement_page
picture = Shown(0, np.zeros((4, 4, 3), np.uint8), 1, 1)
judgement = Judgement("match", "Yes.", (), (), (), "s", "k", "o", 3.0, 2.0, 0.25, "judge", 1, 1, 1,
                      np.array([3.0]), (picture,), (), {}, "wmjax judge")
assert b"<h1><bdi>Yes." in judgement_page([judgement], title="t")
assert not [name for name in sys.modules if name.startswith(("wmjax.verification", "wmjax.data"))]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
