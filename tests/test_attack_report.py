"""An attack suite's page and lines: what is told of each attack, and hostile names."""

import base64
import hashlib
import itertools
import re
import unicodedata
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from attacked import NEEDED, diverged, fixed, found, leak, page, pixels, point, stolen
from pages import HOSTILE, Page

from wmjax.attacks.result import Point
from wmjax.errors import AccessError
from wmjax.grounds import Ground
from wmjax.keys import generate, make_spec
from wmjax.report.attack import attack_table, write_attack_report
from wmjax.report.demo import Finding, write_demo_report
from wmjax.report.fates import headline
from wmjax.report.frontier import frontier_svg


def test_headline_counts_attacks_that_removed_the_mark() -> None:
    points = [
        point("prune", 0.5, lost=1.0, bits=30.0),
        point("prune", 0.9, lost=4.9, bits=19.9),
        point("prune", 0.8, lost=4.0, bits=-3.0),
        point("tune", lost=5.0, bits=3.0),  # spoilt
        point("distil", lost=0.0, bits=20.0),  # a match still
        diverged("perturb"),
    ]
    head = headline(found(stolen(), *points))
    assert head.verdict == "The mark was removed."
    assert (
        head.reason == "1 of 4 attacks leaves no match, which takes 20 bits, in a network that lost less than 5 points."
    )
    assert head.named == ["prune at 0.8 leaves -3 bits, 4 points lost"]
    held = headline(found(stolen(), *points[3:]))
    assert (held.verdict, held.reason[:31]) == ("No attack removed the mark.", "3 attacks tried. After none of ")
    assert held.named == ["nearest: distil at 1 leaves 20 bits, 0 points lost"]


@pytest.mark.parametrize(
    ("points", "verdict"),
    [
        ([stolen()], "No attack was tried."),
        ([stolen(), diverged("prune")], "No verdict."),
        ([fixed("none"), fixed("prune")], "No verdict."),
    ],
)
def test_no_verdict_without_evidence(tmp_path: Path, points: list[Point], verdict: str) -> None:
    result = found(*points)
    shown, words = page(tmp_path, result)
    assert verdict in words
    assert attack_table(result)[0].startswith(verdict)
    assert ("no exact evidence" in headline(result).reason) == (points[-1].outcome == "uncalibrated")
    assert not [a for _, a in shown.tags if a.get("class") == "gone"]


def test_no_point_at_all(tmp_path: Path) -> None:
    _, words = page(tmp_path, found())
    assert "No attack was tried." in words


def test_table_has_a_row_a_point_under_its_attack(tmp_path: Path) -> None:
    points = [stolen(), point("prune", 0.9, lost=1.26, bits=3.0), point("tune", lost=9.0, bits=3.0), diverged("noise")]
    shown, words = page(tmp_path, found(*points))
    assert [row for row in shown.rows if row] == [
        ["", "90.0 %", "0.0", "60/100", "288.0", "300.0", "match", "held"],
        ["0.9", "88.7 %", "1.3", "60/100", "-9.0", "3.0", "inconclusive", "removed"],
        ["1", "81.0 %", "9.0", "60/100", "-9.0", "3.0", "inconclusive", "spoilt"],
        ["1", "-", "-", "0/100", "-", "-", "diverged", "diverged"],
    ]
    assert [a.get("class") for tag, a in shown.tags if tag == "tr"].count("gone") == 1
    assert "knows the weights" in words
    assert "share of weights zeroed" in words


def test_several_victims_and_keys_are_told_apart(tmp_path: Path) -> None:
    points = [
        f(key=k, victim=v) for f in (stolen, lambda **m: point("prune", bits=1.0, **m)) for k in "ab" for v in "xy"
    ]
    result = found(*points)
    shown, _ = page(tmp_path, result)
    assert ["x", "b"] in [row[1:3] for row in shown.rows]
    lines = attack_table(result)
    assert [line for line in lines if line.startswith("victim ")] == [
        f"victim {p.victim}, key {p.key}" for p in points[:4]
    ]
    assert headline(result).named[0].endswith("(x, a)")


def test_mark_that_was_not_there_is_told(tmp_path: Path) -> None:
    result = found(point("none", 0.0, bits=12.0), point("prune", bits=11.0), point("tune", bits=25.0))
    shown, words = page(tmp_path, result)
    reason = "As they were stolen, no network was a match: the most evidence found was 12 bits."
    assert headline(result) == ("There was no mark to remove.", reason, [])
    assert "There was no mark to remove." in words
    assert "The mark was removed." not in words
    assert "As stolen, victim holds 12 bits of key" in words
    assert any(line.startswith("As stolen, victim holds 12 bits") for line in attack_table(result))
    assert [row[-1] for row in shown.rows if row] == ["not shown"] * 3
    assert not [a for _, a in shown.tags if a.get("class") == "gone"]


def test_marks_that_were_not_there_do_not_count(tmp_path: Path) -> None:
    """Of one victim the wrong key is asked too, and a network that is innocent."""
    absent: list[dict[str, Any]] = [{"key": "wrong"}, {"victim": "innocent"}]
    points = [stolen(), *(point("none", 0.0, bits=-9.0, **pair) for pair in absent), point("prune", lost=1.0)]
    points += [point("prune", bits=-9.0, **pair) for pair in absent]
    result = found(*points)
    head = headline(result)
    assert (head.verdict, head.reason[:15]) == ("No attack removed the mark.", "1 attack tried.")
    assert head.named == ["nearest: prune at 1 leaves 90 bits, 1 points lost (victim, key)"]
    shown, words = page(tmp_path, result)
    assert [row[-1] for row in shown.rows if row] == ["held", "not shown", "not shown"] * 2
    assert "of them remove the mark0" in words
    also = found(*points, point("tune", bits=3.0))
    assert headline(also).named == ["tune at 1 leaves 3 bits, 0 points lost (victim, key)"]
    assert "of them remove the mark1" in page(tmp_path, also)[1]


def test_network_that_was_lost_before_any_attack_held_no_mark() -> None:
    head = headline(found(diverged("none"), point("prune", bits=1.0)))
    assert head.verdict == "There was no mark to remove."
    assert head.reason.endswith("no evidence could be measured.")


def test_verdict_decides_what_is_removed(tmp_path: Path) -> None:
    """A match on the way holds although bits sink later; bits that come after an acquittal are no match."""
    points = [stolen(), point("way", bits=3.0, outcome="match"), point("late", bits=25.0, outcome="no-match")]
    result = found(*points, point("late", 2.0, bits=25.0, lost=9.0, outcome="no-match"))
    shown, words = page(tmp_path, result)
    assert [row[-1] for row in shown.rows if row] == ["held", "held", "removed", "spoilt"]
    assert headline(result).named == ["late at 1 leaves 25 bits, 0 points lost"]
    assert "of them remove the mark1" in words


def test_rest_of_the_page(tmp_path: Path) -> None:
    leaks = [leak(), leak(correlation=0.05, p=0.6), leak(chance=None, p=None)]
    result = found(
        stolen(),
        point("prune"),
        leaks=leaks,
        skipped={"distil": "needs images"},
        notes=(Ground("cut", {"attack": "a", "networks": 4, "part": 2}),),
        thief=["a cat"],
    )
    shown, words = page(tmp_path, result)
    findings = re.findall("not above chance|above chance|no decoys", words)
    assert findings == ["above chance", "not above chance", "no decoys"]
    for expected in (
        "distil",
        "needs images",
        "a: 4 networks at once did not fit in memory: tried by 2",
        "a cat",
        "abab",
        "correlation 0.40, chance 0.10, p 0.01",
    ):
        assert expected in words
    np.testing.assert_array_equal(pixels(shown)[::16, ::16], np.arange(64).reshape(8, 8))


def test_leaks_are_told_by_p_and_how_many_were_tested(tmp_path: Path) -> None:
    leaks = [leak(p=0.025), leak(p=0.03), leak(correlation=-0.4, p=0.01), leak(correlation=-0.4, chance=0.5, p=0.9)]
    tested = [*leaks[::2], leak(chance=None, p=None)]
    _, words = page(tmp_path, found(stolen(), point("prune"), leaks=tested))
    assert re.findall("not above chance|above chance|no decoys", words) == ["above chance", "above chance", "no decoys"]
    assert "p of at most 0.025: 0.05 divided by the 2 pictures that have a p" in words
    _, words = page(tmp_path, found(stolen(), point("prune"), leaks=leaks))
    told = ["not above chance", "not above chance", "above chance", "not above chance"]
    assert re.findall("not above chance|above chance", words) == told
    assert "correlation -0.40, chance 0.10" in words


def test_pictures_of_other_channels_are_grey(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 5), np.uint8)
    shown, _ = page(tmp_path, found(stolen(), point("prune"), leaks=[leak(picture=picture.tolist())]))
    np.testing.assert_array_equal(pixels(shown)[::16, ::16], picture.mean(axis=2).round())
    key = generate(make_spec("abstract", image=(8, 8, 5), classes=10, triggers=1))
    curve = np.array([1.0, 2.0])
    verdict: Any = SimpleNamespace(verdict="match", evidence_bits=2.0, queries=2, grounds=(), path=curve)
    combined: Any = SimpleNamespace(
        verdict="match", evidence_bits=2.0, alpha=1e-6, needed_bits=20.0, grounds=(), verdicts=(verdict, verdict)
    )
    demo = write_demo_report(tmp_path, (key, key), [Finding("marked", "stolen", 0.9, combined)])
    gallery = pixels(Page(demo.read_text("utf-8")))
    np.testing.assert_array_equal(gallery[::6, ::6], key.images[0].mean(axis=2).round())


def test_policy_and_nothing_loaded(tmp_path: Path) -> None:
    shown, _ = page(tmp_path, found(stolen(), point("prune"), leaks=[leak()]))
    policy = next(a["content"] for _, a in shown.tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    styles = [text for tag, text in shown.texts if tag == "style" and text.strip()]
    digest = base64.b64encode(hashlib.sha256(styles[0].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script" not in [tag for tag, _ in shown.tags]
    assert not [a for _, attributes in shown.tags for a in attributes if a == "style" or a.startswith("on")]
    sources = [v or "" for _, a in shown.tags for n, v in a.items() if n in ("src", "href")]
    assert all(source.startswith("data:image/png") for source in sources)
    assert "url(" not in styles[0]
    assert "@import" not in styles[0]


def test_hostile_strings_stay_text(tmp_path: Path) -> None:
    points = [stolen(victim=HOSTILE[3])] + [
        point(name, bits=bits, victim=name, key=name) for name, bits in itertools.product(HOSTILE, (3.0, 60.0))
    ]
    texts = {name: name for name in HOSTILE}
    result = found(
        *points,
        *(fixed(name) for name in HOSTILE),
        suite=HOSTILE[0],
        data=HOSTILE[1],
        model=HOSTILE[3],
        keys={name: {name: name} for name in HOSTILE},
        thief=HOSTILE,
        attackers=texts,
        strengths=texts,
        leaks=[leak(victim=name, key=name, start=name) for name in HOSTILE],
        skipped=texts,
        notes=tuple(Ground("cut", {"attack": name, "networks": 4, "part": 2}) for name in HOSTILE),
    )
    shown, words = page(tmp_path, result)
    tags = [tag for tag, _ in shown.tags]
    assert "script" not in tags
    assert tags.count("img") == len(HOSTILE)
    text = (tmp_path / "report.html").read_text("utf-8")
    for whole in (text, frontier_svg(result.points, NEEDED)):
        odd = [c for c in whole if unicodedata.category(c) in ("Cf", "Cs", "Cc") and c != "\n"]
        assert not odd
    assert HOSTILE[1] in words
    assert "safe\\u202egnp.exe" in words
    lines = attack_table(result)
    assert all(line.isprintable() for line in lines if line)
    assert max(map(len, lines)) <= 100
    ElementTree.fromstring(frontier_svg(result.points, NEEDED))


def test_terminal_lines() -> None:
    lines = attack_table(found(stolen(), point("prune", 0.9, lost=1.26, bits=3.0), diverged("noise"), leaks=[leak()]))
    assert "prune 0.9 88.7 % 1.3 60/100 -9.0 3.0 inconclusive removed" in [" ".join(line.split()) for line in lines]
    assert "noise 1 - - 0/100 - - diverged diverged" in [" ".join(line.split()) for line in lines]
    assert any(line.startswith("inversion of victim, key, from blank: correlation 0.40") for line in lines)


def test_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AccessError, match=r"cannot write .*report\.html"):
        write_attack_report(tmp_path / "file" / "report.html", found(stolen()))
