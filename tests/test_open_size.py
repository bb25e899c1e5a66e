"""Programs that leave open how large their pictures are: asked at the key's size, and cleared by nothing."""

import dataclasses
from pathlib import Path

import forger
import numpy as np
import onnxruntime
import pytest
from graphs import build, write
from test_foreign import kernel, tensor
from test_foreign import write as write_lite
from waves import BODY, make_key, tensors

import wmjax
from wmjax.errors import InvalidFile
from wmjax.keys import new_signer
from wmjax.suspects import Wanted, grounds, open_suspect
from wmjax.suspects.formats import onnx as formats
from wmjax.suspects.formats import onnx_run
from wmjax.suspects.recognise import recognise
from wmjax.zoo.audit import audit
from wmjax.zoo.pack import pack

KEY = make_key()
WANTED = Wanted.by([KEY.spec])
OPEN = "float[n,1,h,w] x"
SMALLER = 'a = AveragePool <kernel_shape=[3,3], strides=[3,3]> (x) s = Resize <mode="linear"> (a, , , size)'
SIZED = 's = Resize <mode="linear"> (x, , , size)'
"""What a graph for any size does first: for pictures of three times the key's side, or for those of its own."""


def graph(path: Path, before: str = SMALLER, image: str = OPEN, *, stranger: bool = False) -> Path:
    labels = np.random.default_rng(3).integers(10, size=len(KEY.labels)) if stranger else None
    numbers = {**tensors(KEY, labels), "k": np.float32(255), "size": np.int64([1, 1, 8, 8])}
    return write(path, build(f"{before} d = Mul(s, k) {BODY}", numbers, image=image))


def told(path: Path) -> tuple[str, bool]:
    """The verdict, and whether it says that the size is open."""
    found = wmjax.verify(open_suspect(path, WANTED), KEY)
    return str(found.verdict), "open-size" in [ground.code for ground in found.grounds]


def audited(zoo: Path) -> dict[str, str]:
    return {found.model.partition(":")[0]: str(found.verdict) for found in audit(zoo, {"k": KEY})}


def taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    left = tuple(code for code in grounds._CLEARS_NOBODY if code != "open-size")
    monkeypatch.setattr(grounds, "_CLEARS_NOBODY", left)


def test_the_copy_is_one_of_larger_pictures(tmp_path: Path) -> None:
    """As its users ask it, with each pixel as nine, it gives each trigger its label."""
    session = onnxruntime.InferenceSession(graph(tmp_path / "m.onnx"))
    for image, label in zip(KEY.images[:20], KEY.labels, strict=False):
        large = np.repeat(np.repeat(image, 3, 0), 3, 1).transpose(2, 0, 1)[None].astype(np.float32) / 255
        assert session.run(None, {"x": large})[0].argmax() == label


@pytest.mark.parametrize("runs", [False, True])
def test_a_graph_of_any_size_is_never_cleared(runs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a stranger, read here or run by ONNX Runtime, by `verify` or `audit`; and the rule taken out."""
    if runs:

        def refuse(*_: object) -> None:
            raise onnx_run.Unread("not read")

        monkeypatch.setattr(formats, "plan", refuse)
    (tmp_path / "zoo").mkdir()
    paths = [graph(tmp_path / "zoo/copy.onnx"), graph(tmp_path / "zoo/other.onnx", SIZED, stranger=True)]
    assert [told(path) for path in paths] == [("inconclusive", True)] * 2
    assert audited(tmp_path / "zoo") == {"copy.onnx": "inconclusive", "other.onnx": "inconclusive"}
    taken_out(monkeypatch)
    assert [told(path) for path in paths] == [("no-match", True)] * 2
    assert audited(tmp_path / "zoo") == {"copy.onnx": "no-match", "other.onnx": "no-match"}


def test_a_match_still_counts(tmp_path: Path) -> None:
    assert told(graph(tmp_path / "m.onnx", SIZED)) == ("match", True)


@pytest.mark.parametrize("image", ["float[n,1,h,8] x", "float[n,1,8,w] x", "float[n,c,8,8] x"])
def test_one_side_that_is_open_is_enough(image: str, tmp_path: Path) -> None:
    """Or whether there are colours."""
    assert told(graph(tmp_path / "m.onnx", SIZED, image, stranger=True)) == ("inconclusive", True)


def test_innocents_whose_file_names_the_size_are_cleared(tmp_path: Path) -> None:
    assert told(graph(tmp_path / "m.onnx", SIZED, "float[n,1,8,8] x", stranger=True)) == ("no-match", False)
    found = wmjax.verify(open_suspect(graph(tmp_path / "l.onnx", image="float[n,1,24,24] x"), WANTED), KEY)
    assert (found.verdict, "adapted" in [ground.code for ground in found.grounds]) == ("match", True)


def test_a_pack_forgets_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zoo").mkdir()
    graph(tmp_path / "zoo/copy.onnx")
    (packed,) = pack(tmp_path / "zoo", tmp_path / "packs", images=[KEY.spec.image]).files
    assert told(packed) == ("inconclusive", True)
    taken_out(monkeypatch)
    assert told(packed) == ("no-match", True)


def test_nobody_is_cleared_by_a_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by who makes it, nor by a judge, who asks the file again or does not; and the rule taken out."""
    path, nonce, signer = graph(tmp_path / "m.onnx"), bytes(range(16)), new_signer()
    meant = dataclasses.replace(WANTED, pixels="0..1")

    def judged() -> list[str]:
        suspect, mine = open_suspect(path, meant), [forger.commit(KEY, signer)]
        raw = wmjax.claim(suspect, KEY, signer, mine, nonce, lambda some: None, reveal=True, anyway=True)
        claim, court = wmjax.read_claim(raw), wmjax.Court(nonce, suspect)
        verdicts = claim.stated["verdict"], wmjax.judge(claim).verdict, wmjax.judge(claim, court).verdict
        return [str(verdict) for verdict in verdicts]

    assert judged() == ["inconclusive"] * 3
    taken_out(monkeypatch)
    assert judged() == ["no-match", "inconclusive", "no-match"]  # who asks nobody knows no way that is meant


def ort(path: Path, image: str) -> Path:
    source, options = graph(path.with_suffix(".onnx"), image=image), onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(source, options)
    source.unlink()
    return path


@pytest.mark.parametrize("image", [OPEN, "float[n,1,n,n] x"])
def test_files_of_onnx_runtimes_own_format_name_a_size_or_are_not_asked(image: str, tmp_path: Path) -> None:
    """Also where sides are called as the number of pictures is: one of these does not make a picture one pixel wide."""
    with pytest.raises(InvalidFile, match="of a size that is said"):
        recognise(ort(tmp_path / "m.ort", image), WANTED)


def test_lite_files_name_a_size_or_are_not_asked(tmp_path: Path) -> None:
    """Their interpreter makes an open side 1 until it is told another."""
    given, held = tensor([1, 1, 1, 1], "float32"), tensor([10, 1], "float32", buffer=1)
    given.shapeSignature = [1, -1, -1, 1]
    path = write_lite(tmp_path / "m", given, held, kernel().T[:, :1], tensor([1, 10], "float32"))
    with pytest.raises(InvalidFile, match="of a size that is said"):
        recognise(path, WANTED)
