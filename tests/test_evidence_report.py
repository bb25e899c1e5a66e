"""The page of a claim, a verdict and a dispute: what it says, what it never lets through, and what it needs."""

import base64
import dataclasses
import hashlib
import io
import re
import shlex
import subprocess
import sys
import unicodedata
from typing import Any

import forger
import numpy as np
import pytest
from pages import HOSTILE, Page
from PIL import Image

from wmjax.cli.options import make_parser
from wmjax.evidence import wording
from wmjax.evidence.facts import Court, Lack
from wmjax.evidence.judge import judge
from wmjax.evidence.judgement import REFUSED, SPENT, Brought, Digests, Judgement, Settlement, Shown
from wmjax.grounds import Ground
from wmjax.keys import Model
from wmjax.report.evidence import LONGEST, PICTURES, judgement_page, recheck_commands
from wmjax.report.html import typed
from wmjax.text import OPTIONS

DATED = "2026-01-01T00:00:00+00:00"
DIGESTS = Digests("c1" * 32, "c0" * 32, "c2" * 32, ("c3" * 32,), (Model("run", "d0" * 32, "d1" * 32),), None, "11" * 32)
BROUGHT = Brought("11" * 32, "2026-02-01T00:00:00+00:00", ("tsa.pem",), None, 1e-6)
LACKS = (
    Ground(Lack.UNREVEALED),
    Ground(Lack.UNPICKED),
    Ground(Lack.UNASKED),
    Ground(Lack.UNDERIVED, {"source": "cifar10"}),
    Ground(Lack.WEAK, {"bits": 1.0, "needed": 19.9}),
)


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
        "proven": (Ground("signed", {"owner": "0f" * 32}), Ground("picked")),
        "assumed": (Ground("nonce-fair"),),
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
        "dates": (
            Ground("stamped", {"time": "2026-01-01T00:00:00+00:00", "authority": "A clock"}),
            Ground("claim-made", {"time": "2026-03-01T00:00:00+00:00"}),
        ),
        "digests": DIGESTS,
        "brought": BROUGHT,
    }
    return Judgement(**(values | changes))


def page(*judgements: Judgement, settlement: Settlement | None = None, title: str = "a claim") -> Page:
    return Page(judgement_page(judgements, settlement, title=title))


def pixels(source: str | None) -> np.ndarray:
    assert source
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,")))))


def test_match_says_verdict_first_and_that_nothing_is_missing() -> None:
    claim = judged([3] * 14)
    seen = page(claim)
    headline = wording.headline(claim)
    assert seen.text().startswith(f"a claim Verdict: match {headline} evidence 42.0 bits a match needs 19.9: reached")
    assert seen.by["h1"] == [headline]
    assert "reached at trigger 7" in seen.text("facts")
    assert "triggers asked 14 of 200 in the key" in seen.text("facts")
    assert "14 of 14" in seen.text("facts")
    assert "1 in 1,000,000" in seen.text("facts")
    assert "the judge" in seen.text("facts")
    assert "Nothing that a match needs is missing." in seen.text("missing")
    assert all(words in seen.text("proven") for words in wording.sentences(claim.proven))
    assert all(words in seen.text("assumed") for words in wording.sentences(claim.assumed))
    assert "alarm" not in seen.by
    assert "some" not in seen.by
    assert "The 42 bits found here: 1 in 10¹²." in seen.text("curve")
    assert "not the chance that the accused is innocent" in seen.text("curve")


def test_what_is_missing_cannot_be_overlooked() -> None:
    claim = judged([3, 1, REFUSED, SPENT], [1.0, -2.0, -3.0, -4.5], verdict="inconclusive", missing=LACKS)
    seen = page(dataclasses.replace(claim, asked_by="claimant"))
    assert seen.text("alarm").startswith("5 things that a match needs are not proven")
    assert seen.text().index("5 things that a match") < seen.text().index("-4.5 bits a match needs 19.9: not reached")
    assert all(typed(words).replace("`", "") in seen.text("some") for words in wording.sentences(LACKS))
    assert ("a", {"href": "#missing-0"}) in seen.tags
    assert "missing-0" in seen.by
    assert "not reached" in seen.text("facts")
    assert "the claimant its answers are the claimant's own record" in seen.text("facts")
    assert "refused 1 count against" in seen.text("facts")
    assert "spent 1 count against" in seen.text("facts")
    assert 'never means "not stolen"' in seen.text()
    assert "bits found here" not in seen.text()
    assert "if what is listed as not proven is supplied" in seen.text("curve")
    one = page(judged([3], verdict="inconclusive", missing=LACKS[:1]))
    assert one.text("alarm").startswith("1 thing that a match needs is not proven")


def test_no_match() -> None:
    seen = page(judged([1] * 5, [-1.0, -2.0, -4.0, -8.0, -1e3], verdict="no-match"))
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


def test_gallery_says_what_the_suspect_calls_its_classes() -> None:
    worded = [dataclasses.replace(one, name="a\u202edog") for one in shown([2], [3])]
    seen = page(judged([2], shown=worded))
    (text,) = [" ".join(text.split()) for text in seen.by["figcaption"]]
    assert text == 'answeredtrigger 7 secret 3 answer "a\\u202edog"'  # its number 2 is ours: no miss
    assert "secret labels answered" not in seen.text()
    called = [dataclasses.replace(one, called="gold fish") for one in shown([3], [3])]
    (text,) = [" ".join(text.split()) for text in page(judged([3], shown=called)).by["figcaption"]]
    assert text == '✓ hittrigger 7 secret 3 answer 3 "gold fish"'


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
    seen = page(judged([REFUSED], [-3.3], verdict="inconclusive", dates=(), proven=(), assumed=()))
    assert "No date is known." in seen.text()
    assert "Nothing." in seen.text("proven")


def test_dates_in_order_with_the_time_between() -> None:
    seen = page(judged([3]))
    assert '2026-01-01T00:00:00+00:00 time stamp of "A clock"' in seen.text("dates")
    assert "2026-03-01T00:00:00+00:00 59 days later the claim was made" in seen.text("dates")
    assert seen.text("dates").count("later") == 1


def test_digests_in_full_and_commands() -> None:
    claim = judged([3])
    seen = page(claim)
    model = DIGESTS.released[0]
    named = (DIGESTS.claim, DIGESTS.commitment, DIGESTS.root, *DIGESTS.commitment_files, model.files, model.tensors)
    for value in (claim.key_id, claim.owner, DIGESTS.nonce, *named):
        assert value in seen.text("digests")
    lines = [line for _, line in recheck_commands(claim)]
    assert lines == ["sha256sum claim.json", wording.command([claim])]
    *checks, mail = (line.strip() for line in seen.by["pre"])
    assert checks == lines
    assert mail.splitlines()[0] == f"match: {wording.headline(claim)}"
    assert mail.endswith(wording.command([claim]))
    assert "wmjax/evidence/FORMAT.md" in seen.text()
    assert "it proves nothing" in seen.text()


def test_the_page_of_a_real_judgement_prints_the_digest_of_its_claim_file() -> None:
    key = forger.abstract_key(b"\x01" * 32, 60)
    claim = forger.honest_claim(key, forger.knowing(key), b"n" * 32)
    seen = page(judge(claim, Court(nonce=b"n" * 32, suspect=forger.suspect(forger.knowing(key)))))
    sha256 = hashlib.sha256(claim.raw).hexdigest()
    assert f"must print {sha256}" in seen.text("check")
    assert sha256 in seen.text("digests")


@pytest.mark.parametrize("name", ["$(reboot)", "a b.pem", "--help"])
def test_a_shell_reads_the_command_as_it_is_meant(name: str) -> None:
    line = wording.command(
        [judged([3], brought=dataclasses.replace(BROUGHT, authorities=(name,), alpha=1.23456789e-7))]
    )
    words = shlex.split(line)
    assert words[words.index("--tsa") + 1] == name
    assert float(words[words.index("--alpha") + 1]) == 1.23456789e-7


@pytest.mark.parametrize(
    ("alpha", "words"), [(1e-6, "1 in 1,000,000"), (2.0**-20, "1 in 1,048,576"), (0.3, "0.3"), (1e-40, "1 in 10⁴⁰")]
)
def test_level(alpha: float, words: str) -> None:
    seen = page(judged([3], alpha=alpha, needed_bits=-float(np.log2(alpha))))
    assert f"chance of a false match {words} at most" in seen.text("facts")


def test_dispute() -> None:
    first = judged([3] * 14)
    second = judged([3] * 3, verdict="inconclusive", missing=LACKS[:1])
    settlement = Settlement(1, (Ground("model-earlier", {"claim": 1, "dated": DATED, "later": DATED}),))
    seen = page(first, second, settlement=settlement, title="a dispute")
    assert seen.by["h1"] == ["Claim 2 came first: its owner marked the model before the other."]
    assert [seen.text("settled")] == wording.sentences(settlement.grounds)
    assert seen.text("tbody") == f"1 match 42 of 19.9 0 {first.owner} 2 (first) inconclusive 9 of 19.9 1 {second.owner}"
    assert f"Claim 1: {wording.headline(first)}" in seen.text("h2")
    assert f"Claim 2: {wording.headline(second)}" in seen.text("h2")
    assert {"missing-1", "missing-2"} <= set(seen.by)
    assert ("a", {"href": "#missing-2"}) in seen.tags
    still = page(first, second, settlement=Settlement(None, (Ground("two-signers-open"),)))
    assert still.by["h1"] == ["Who marked the model first stays open."]
    assert "(first)" not in still.text()
    assert page(first, second).by["h1"] == ["2 claims, each judged by itself."]


def hostile() -> Judgement:
    """A judgement whose every text is hostile."""
    time = "2026-01-01T00:00:00+00:00"
    return judged(
        [3],
        proven=tuple(
            Ground("released-by", {"time": time, "authority": text, "certificate": text, "model": text})
            for text in HOSTILE
        ),
        assumed=tuple(Ground("owner-unknown", {"owner": text}) for text in HOSTILE),
        missing=tuple(Ground(Lack.UNDERIVED, {"source": text}) for text in HOSTILE),
        suspect=HOSTILE[0] + HOSTILE[3],
        key_id=HOSTILE[1],
        owner=HOSTILE[2],
        dates=tuple(Ground("stamped", {"time": time, "authority": text}) for text in HOSTILE),
        digests=dataclasses.replace(DIGESTS, released=tuple(Model(text, text, text) for text in HOSTILE)),
        brought=dataclasses.replace(BROUGHT, authorities=tuple(HOSTILE)),
    )


@pytest.mark.parametrize("settlement", [None, Settlement(0, (Ground("one-key"),))])
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
    seen = page(judged([3], suspect=name, missing=(Ground(Lack.UNDERIVED, {"source": name}), LACKS[0])))
    assert seen.by["h1"][0].startswith('"aaa')
    assert seen.by["h1"][0].endswith("committed to.")
    assert "give it with --source." in seen.text("some")
    assert typed(wording.told(LACKS[0])).replace("`", "") in seen.text("some")
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
from wmjax.evidence.judgement import Brought, Digests, Judgement, Shown
from wmjax.report.evidence import judgement_page
picture = Shown(0, np.zeros((4, 4, 3), np.uint8), 1, 1)
digests, brought = Digests("", "", "", (), (), None, ""), Brought(None, None, (), None, 0.25)
judgement = Judgement("match", (), (), (), "s", "k", "o", 3.0, 2.0, 0.25, "judge", 1, 1, 1,
                      np.array([3.0]), (picture,), (), digests, brought)
assert b"<h1><bdi>&#34;s&#34; knows the secret key" in judgement_page([judgement], title="t")
assert not [name for name in sys.modules if name.startswith(("wmjax.verification", "wmjax.suspects"))]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_pages_name_the_options_that_set_a_parameter() -> None:
    """Those of a judge and of an audit, whose pages say what else to give, and of who verifies a suspect of theirs."""
    verbs = {}
    for line in ("verify --key my.age run", "judge claim.json", "audit zoo --keys keys --out out"):
        actions = make_parser().parse_args(line.split()).parser._actions
        verbs |= {action.dest: action.option_strings[-1] for action in actions if action.option_strings}
    assert {name: verbs[name] for name in OPTIONS} == OPTIONS
    assert all(
        option == typed(f"`{name}`").strip("`") for name, option in verbs.items() if name in ("sources", "suspect")
    )
