"""What all pages share: one frame, a summary for a mail, pictures; keyboards and screen readers can use them.

Where Chromium and axe-core are (`WMJAX_AXE` names axe.min.js; `npm install axe-core` brings it), axe looks at each page
by day and by night, and at the margins of paper; the rules by hand are tried everywhere.
"""

import html
import itertools
import json
import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from attacked import diverged, fixed, leak, point, stolen
from attacked import found as attacked
from pages import Page
from PIL import Image
from test_audit_report import CHROMIUM, audit, found
from test_evidence_report import LACKS, judged

from wmjax.evidence.judgement import REFUSED, SPENT, Refused, Settlement
from wmjax.report import html as frame
from wmjax.report.attack import attack_plots, write_attack_report
from wmjax.report.audit import write_audit_report
from wmjax.report.curves import of_audit, of_verdicts
from wmjax.report.demo import Finding, write_demo_report
from wmjax.report.evidence import evidence_plots, judgement_page
from wmjax.report.picture import write_picture

AXE = os.environ.get("WMJAX_AXE")
MISSING = judged([3, 2, SPENT, REFUSED, 3] * 4, verdict="inconclusive", missing=LACKS)
MATCH = judged([3] * 14)
COINS = judged([3] * 14, verdict="no-match", matches=101, leanings=np.linspace(-1, 1, 216))
SUITE = attacked(
    stolen(), point("prune", 0.9, lost=1.26, bits=3.0), point("distil", 1, bits=40.0), diverged("noise"), leaks=[leak()]
)


def _audit() -> Any:
    result = audit(6, 3)
    found(result, 4, 1, 60.0)
    found(result, 1, 1, 12.0, outcome=2)
    return result


def _demo(folder: Path) -> bytes:
    verdict = SimpleNamespace(evidence_bits=20.0, path=np.arange(30.0), grounds=())
    key = SimpleNamespace(
        spec=SimpleNamespace(scheme="abstract", triggers=3, image=(8, 8, 1)),
        images=np.zeros((3, 8, 8, 1), np.uint8),
        labels=[1, 2, 3],
        commitment=SimpleNamespace(
            id="00", created="now", root="00", spec=SimpleNamespace(scheme="abstract", triggers=3)
        ),
    )
    combined = SimpleNamespace(
        verdict="match", evidence_bits=40.0, needed_bits=20.0, alpha=1e-6, verdicts=[verdict, verdict], grounds=()
    )
    told: Any = [Finding("marked", "stolen", 0.9, combined), Finding("other", "independent", 0.9, combined)]
    pair: Any = [key, key]
    return write_demo_report(folder, pair, told).read_bytes()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    write_audit_report(folder / "audit.html", _audit())
    write_attack_report(folder / "attack.html", SUITE)
    return {
        "verdict": judgement_page([MATCH], title="A verdict"),
        "claim": judgement_page([MISSING], title="A claim"),
        "dispute": judgement_page([MATCH, MISSING], Settlement(0, ()), title="A dispute"),
        "quarrel": judgement_page([MATCH, Refused("invalid", "c.json: no signature", 4)], title="A quarrel"),
        "coins": judgement_page([COINS], title="What coins tell"),
        "audit": (folder / "audit.html").read_bytes(),
        "attack": (folder / "attack.html").read_bytes(),
        "demo": _demo(folder),
    }


KINDS = ("verdict", "claim", "dispute", "quarrel", "coins", "audit", "attack", "demo")


@pytest.mark.parametrize("kind", KINDS)
def test_rules_by_hand(pages: dict[str, bytes], kind: str) -> None:
    """Language, title, one main part, headings in order, names of pictures, headers of tables, labels, unique ids."""
    page = Page(pages[kind])
    tags = [tag for tag, _ in page.tags]
    assert dict(page.tags)["html"]["lang"] == "en"
    assert page.text("title")
    assert (tags.count("main"), tags.count("h1")) == (1, 1)
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for tag, attributes in page.tags:
        if tag == "img":
            assert attributes.get("alt")
        if tag == "svg":
            assert (attributes.get("role"), bool(attributes.get("aria-label"))) == ("img", True)
        if tag == "th":
            assert attributes.get("scope") in ("col", "row", "rowgroup")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {"generator", "color-scheme", "viewport"} <= {a.get("name") for tag, a in page.tags if tag == "meta"}


@pytest.mark.parametrize("kind", KINDS)
def test_each_page_has_a_summary_for_a_mail(pages: dict[str, bytes], kind: str) -> None:
    page = Page(pages[kind])
    (at,) = [place for place, (_, attributes) in enumerate(page.tags) if attributes.get("class") == "summary"]
    assert [tag for tag, _ in page.tags[at : at + 3]] == ["section", "h2", "pre"]
    lines = page.by["pre"][-1].strip().splitlines()
    assert 2 <= len(lines) <= 14
    assert "match" in " ".join(lines)


def colours(night: bool) -> dict[str, str]:
    """The pages' colours by name, by day or by night."""
    dark = "@media screen and (prefers-color-scheme: dark)"
    sheets = [frame.inline(name).split(dark) for name in ("page.css", "plot.css")]
    parts = [sheet[int(night)].split("}\n}")[0] for sheet in sheets]
    return {name: value for part in parts for name, value in re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part)}


def contrast(one: str, other: str) -> float:
    """WCAG's contrast of two colours."""

    def light(colour: str) -> float:
        channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    bright, dark = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("night", [False, True])
def test_text_has_contrast_and_lines_can_be_told_from_paper(night: bool) -> None:
    named = colours(night)
    for name in ("ink", "soft", "link", "match", "inconclusive", "no-match"):
        for ground in ("paper", "raised"):
            assert contrast(named[name], named[ground]) >= 4.5, (name, ground, night)
    assert all(contrast(named[f"c{i}"], named["paper"]) >= 3.0 for i in range(6))


FRAMES = """<!doctype html><html lang="en"><head><title>pages</title></head><body><script>
const told = {}, count = COUNT;
addEventListener("message", (event) => {
  Object.assign(told, event.data);
  if (Object.keys(told).length === count) {
    const out = document.createElement("output");
    out.textContent = JSON.stringify(told);
    document.body.append(out);
  }
});
</script>PAGES</body></html>"""
RUN = """<script>addEventListener("load", () => axe.run(document, {resultTypes: ["violations"]}).then((found) =>
parent.postMessage({KIND: found.violations.map((v) => v.id + ": " + v.nodes[0].html)}, "*")))</script>"""
FAULTY = b"""<!doctype html><html lang="en"><head><title>t</title><style>
@media (prefers-color-scheme: dark) { body { background: #111 } p { color: #222 } }
</style></head><body><main><h1>h</h1><p>words</p><img src="data:,"></main></body></html>"""


DUMP = ("--dump-dom", "--virtual-time-budget=30000")


def chromium(page: Path, *options: str) -> str:
    """What Chromium writes to stdout about a page."""
    fixed = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    profile = f"--user-data-dir={page.parent / 'profile'}"
    done = subprocess.run(
        [str(CHROMIUM), *fixed.split(), profile, *options, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.skipif(AXE is None, reason="WMJAX_AXE names no axe.min.js (npm install axe-core)")
@pytest.mark.parametrize("night", [False, True])
def test_axe_finds_nothing(pages: dict[str, bytes], tmp_path: Path, night: bool) -> None:
    """All pages in one window, a frame each: axe's script is let in, which the pages' own policy forbids."""
    axe = f"<script>{Path(str(AXE)).read_text()}</script>"
    frames = []
    for kind, raw in {**pages, "faulty": FAULTY}.items():
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", raw.decode())
        whole = text.replace("</body>", f"{axe}{RUN.replace('KIND', kind)}</body>")
        frames.append(f'<iframe title="{kind}" width="1200" height="900" srcdoc="{html.escape(whole)}"></iframe>')
    (tmp_path / "all.html").write_text(FRAMES.replace("COUNT", str(len(frames))).replace("PAGES", "".join(frames)))
    night_too = ["--blink-settings=preferredColorScheme=0"] if night else []
    out = chromium(tmp_path / "all.html", *DUMP, *night_too)
    answer = re.search(r"<output>(.*?)</output>", out, re.DOTALL)
    assert answer
    told = json.loads(html.unescape(answer[1]))
    faults = {line.partition(":")[0] for line in told.pop("faulty")}
    assert faults == ({"image-alt", "color-contrast"} if night else {"image-alt"})  # it looks, and by night
    assert told == {kind: [] for kind in pages}


PAPER = 718  # pixels between the margins of A4
MEASURE = """<script>addEventListener("load", () => parent.postMessage({KIND: [...document.querySelectorAll("body *")]
  .filter((e) => e.getBoundingClientRect().right > PAPER + 1 && !e.closest("#map"))
  .map((e) => e.tagName + ": " + e.textContent.slice(0, 60))}, "*"))</script>"""
LONG = "a-name-that-somebody-gave-to-a-checkpoint/" * 6


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_paper_cuts_nothing(pages: dict[str, bytes], tmp_path: Path) -> None:
    """Laid out as for print, nothing reaches over the right margin: no column is lost. The heat map is the screen's."""
    points = [point("prune", 0.9, bits=3.0, victim=f"{LONG}{i}", key=f"{LONG}{i}") for i in range(2)]
    write_attack_report(tmp_path / "attack.html", attacked(stolen(), *points, leaks=[leak(victim=LONG, key=LONG)]))
    wide = audit(4, 3, models=[f"{LONG}{i}" for i in range(4)], families=[LONG] * 4)
    found(wide, 1, 1, 60.0)
    write_audit_report(tmp_path / "audit.html", wide)
    shown = {**pages, **{f"wide_{kind}": (tmp_path / f"{kind}.html").read_bytes() for kind in ("attack", "audit")}}
    shown["faulty"] = FAULTY.replace(b"words", b"<code>" + b"0" * 200 + b"</code>")
    frames = []
    for kind, raw in shown.items():
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", raw.decode())
        text = text.replace("@media print", "@media all").replace("@media screen", "@media not all")
        script = MEASURE.replace("KIND", kind).replace("PAPER", str(PAPER))
        whole = html.escape(text.replace("</body>", f"{script}</body>"))
        frames.append(f'<iframe title="{kind}" width="{PAPER}" height="900" srcdoc="{whole}"></iframe>')
    (tmp_path / "all.html").write_text(FRAMES.replace("COUNT", str(len(frames))).replace("PAGES", "".join(frames)))
    answer = re.search(r"<output>(.*?)</output>", chromium(tmp_path / "all.html", *DUMP), re.DOTALL)
    assert answer
    told = json.loads(html.unescape(answer[1]))
    assert [line.partition(":")[0] for line in told.pop("faulty")] == ["CODE"]  # it looks
    assert told == {kind: [] for kind in shown if kind != "faulty"}


PLOTS = {
    "verdict": lambda: evidence_plots([MATCH]),
    "dispute": lambda: evidence_plots([MATCH, MISSING]),
    "audit": lambda: [of_audit(_audit())],
    "attack": lambda: [plot for plot in (*attack_plots(SUITE)[0], attack_plots(SUITE)[1]) if plot],
    "fixed labels": lambda: attack_plots(attacked(fixed("prune")))[0],
    "verify": lambda: [
        of_verdicts([SimpleNamespace(verdict="match", path=np.array([1.0, np.nan, 30.0]))] * 2, ["a", "b"], 20.0)
    ],
    "nothing": lambda: [of_audit(audit(0, 1))],
}


@pytest.mark.parametrize("name", PLOTS)
def test_pictures_show_the_curves_in_the_pages_colours(name: str, tmp_path: Path) -> None:
    plots = PLOTS[name]()
    write_picture(tmp_path / "it.png", plots)
    with Image.open(tmp_path / "it.png") as picture:
        assert picture.format == "PNG"
        assert picture.width == max(round(plot.width * 4) // 2 for plot in plots)
        seen = {"#" + bytes(colour).hex() for _, colour in picture.convert("RGB").getcolors(1 << 24) or []}
    named, looks = colours(False), {look.colour for plot in plots for _, look in plot.lines}
    assert {named[look] for look in looks if look in named} <= seen
    assert named["paper"] in seen


@pytest.mark.parametrize("verb", ["verify --key k run", "judge claim.json", "audit zoo"])
def test_a_picture_is_written_over_no_other_file(run: Any, verb: str) -> None:
    Path("claim.json").write_text("{}")
    code, _, err = run(*verb.split(), "--png", "claim.json")
    assert (code, "does not end in .png" in err, Path("claim.json").read_text()) == (2, True, "{}")


def test_verify_draws_what_it_found(run: Any) -> None:
    run("keygen", "--image", "4x4x1", "--classes", "4", "--triggers", "30", "--out", "k")
    Path("theirs.py").write_text("import numpy as np\ndef zeros(x): return np.zeros(len(x), int)\n")
    code, _, err = run("verify", "--key", "k.age", "theirs:zeros", "--png", "evidence.png")
    assert (code in (1, 3), err) == (True, "")
    with Image.open("evidence.png") as picture:
        assert picture.width > 1000
