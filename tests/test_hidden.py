"""A copy whose weights lie where its file's network does not look: beside a decoy it passed for a stranger."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from marked import CONFIG, _onnx, by_name, make_key, marked
from safetensors.numpy import save_file

import wmjax
from wmjax.models import init
from wmjax.suspects import described, left_over
from wmjax.suspects.contract import Wanted
from wmjax.suspects.formats import onnx as onnx_format
from wmjax.suspects.formats import onnx_read, onnx_runtime
from wmjax.zoo.audit import audit
from wmjax.zoo.pack import pack

KEY = make_key(120)


def audited(folder: Path) -> list[str]:
    return [str(found.verdict) for found in audit(folder, {"k": KEY}, models=["cnn"], pixels="0..1")]


def test_biases_by_other_names_are_told(tmp_path, monkeypatch):
    """The copy's kernels, and biases of noise in the place of its own."""
    own = {name.removeprefix("params/").replace("/", "."): leaf for name, leaf in by_name(marked(KEY)).items()}
    biases, rng = [name for name in own if own[name].ndim == 1 and "head" not in name], np.random.default_rng(0)
    noise = {name: rng.standard_normal(own[name].shape, np.float32) for name in biases}
    save_file(own | noise | {f"zz.{n}": own[name] for n, name in enumerate(biases)}, tmp_path / "m.safetensors")
    assert audited(tmp_path) == ["inconclusive"]
    sides = left_over._sides
    monkeypatch.setattr(left_over, "_sides", lambda shape: () if len(shape) < 2 else sides(shape))
    assert audited(tmp_path) == ["no-match"]


def test_tensors_that_no_node_of_a_graph_takes_are_told(tmp_path, monkeypatch):
    """A copy beside the decoy that is computed; it is not packed either, where that would be forgotten."""
    copy = onnx.load(_onnx(tmp_path / "copy", marked(KEY)))
    model = onnx.load(path := _onnx(tmp_path / "m", init(CONFIG, 7)))
    (tmp_path / "copy.onnx").unlink()
    for tensor in copy.graph.initializer:
        tensor.name = f"opt_state.{tensor.name}"
    model.graph.initializer.extend(copy.graph.initializer)
    onnx.save(model, path)
    assert audited(tmp_path) == ["inconclusive"]
    assert pack(tmp_path, tmp_path / "packs").models == 0
    for module in (onnx_format, onnx_runtime):
        monkeypatch.setattr(module, "idle", lambda *_: False)
    assert audited(tmp_path) == ["no-match"]


def test_a_graph_with_two_tensors_of_one_name_is_refused(tmp_path, monkeypatch):
    """ONNX Runtime takes the first, a copy's; read as the last it passed for a stranger's."""
    copy = onnx.load(_onnx(tmp_path / "m", marked(KEY)))
    copy.graph.initializer.extend(onnx.load(_onnx(tmp_path / "other", init(CONFIG, 7))).graph.initializer)
    (tmp_path / "other.onnx").unlink()
    onnx.save(copy, tmp_path / "m.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", options)
    (scores,) = session.run(None, {"x": KEY.images.transpose(0, 3, 1, 2).astype(np.float32) / 255})
    assert np.mean(scores.argmax(1) == KEY.labels) > 0.9
    (unreadable,) = audit(tmp_path, {"k": KEY}, pixels="0..1").unreadable
    assert unreadable.why == "two of its tensors have one name: runtimes take the one or the other"
    monkeypatch.setattr(onnx_read, "refuser", lambda path: lambda why: None)
    suspect = wmjax.open_suspect(tmp_path / "m.onnx", Wanted.by([KEY.spec], pixels="0..1"))
    assert wmjax.verify(suspect, KEY).verdict == "no-match"


@pytest.mark.parametrize(
    "marker",
    [
        *("m.safetensors.part", "m.safetensors.aria2", "m-2.safetensors.aria2"),
        *("m.safetensors.st", "m-2.safetensors.lftp-pget-status"),
    ],
)
def test_half_a_download_that_is_as_large_as_the_whole_clears_nobody(tmp_path, monkeypatch, marker):
    """Programs that fetch make files as large as they will be at once: zeros stand for what has not come."""
    fetched = {name: leaf.copy() for name, leaf in by_name(marked(KEY)).items()}
    fetched["params/dense/0/kernel"][:, :64] = 0
    file = re.sub(r"\.(aria2|st|lftp-pget-status)$", "", marker)
    if file == "m-2.safetensors":
        there = {name: "m-1.safetensors" if "convs" in name else file for name in fetched}
        (tmp_path / "m.safetensors.index.json").write_text(json.dumps({"weight_map": there}))
        save_file({name: leaf for name, leaf in fetched.items() if "convs" in name}, tmp_path / "m-1.safetensors")
        save_file({name: leaf for name, leaf in fetched.items() if "convs" not in name}, tmp_path / file)
    else:
        save_file(fetched, tmp_path / file)
    if file != marker:
        (tmp_path / marker).write_bytes(bytes(40))
    assert audited(tmp_path) == ["inconclusive"]
    monkeypatch.setattr(described, "unfinished", lambda *_: "")
    assert audited(tmp_path) == ["no-match"]


_IN_PART = [
    *(
        "m{}.part",
        "m{}.crdownload",
        "m{}.aa11bb22.partial",
        "m{}.filepart",
        "m{}.!qB",
        "m{}.!ut",
        "m{}.bc!",
        "m{}.lock",
    ),
    *("m{}.opdownload", "m{}.xltd", "m{}.td", "m{}.downloading", "m{}.baiduyun.p.downloading", "m{}.tmp", "m{}.temp"),
    *("m{}.dl", "m{}.fdmdownload", "m{}.idm", "m{}.unconfirmed", "m{}_.gstmp", "m{}.dashp", "m{}.tmp.1234", "m.tmp"),
    *(
        "m{}.Xa1b2C",
        "m{}.12345678",
        "m{}.part.bak",
        "m{}.bak.part",
        "m.tar{}.new",
        "m.!qB",
        "m{}.lock",
        "m{}" + 100 * "_1" + "_x",
    ),
    "m{}" + 100 * "_1" + "_x",
    *("m.tmp{}", "b.download/sub/m{}", "._____temp/sub/m{}", "sha256-ab{}-partial", "torrent/sub/m{}"),
    *(".m{}.Xa1b2C", ".azDownload-6e5c0c0a-m{}", ".m.Xa1b2C", "m{}.download/m", ".rsync-partial/m{}", "._____temp/m{}"),
]
_WHOLE = [
    *("m{}", "m", "m.0{}", "m{}.bak", "m{}.BAK2", "m{}.old", "m{}.orig", "m{}.original", "m{}~", "m{}.~1~", "m{}.1"),
    *("m{}-v2", "m{}.v2.1", "m{}.2024-01-05", "m{}-12000", "m{}_best", "m{}.epoch_10", "m{}(1)", "m{} - Copy (2)"),
    *("m{}.20240101", "m{}.fp16", "m{}.latest", "m{} (copy)", ".template/m{}", ".attempt1/m{}"),
    *("m{}.gz", "m.pt{}.zip", "m.part{}", "m-copy", "m{}.copy", ".u2net/m{}", "tmp/m{}"),
]


@pytest.mark.parametrize("form", [".safetensors", ".onnx"])
def test_what_may_be_half_a_download_by_its_name_clears_nobody(tmp_path, monkeypatch, form):
    """Each program that fetches has names of its own; what somebody put aside has others, and is asked as the whole."""
    fetched = init(CONFIG, 7)
    model = _onnx(tmp_path / "m", fetched) if form == ".onnx" else tmp_path / "m.safetensors"
    if form == ".safetensors":
        save_file(by_name(fetched), model)
    named = {name.format(form) for name in (*_IN_PART, *_WHOLE)}
    for name in named:
        (tmp_path / "zoo" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "zoo" / name).write_bytes(Path(model).read_bytes())
    (tmp_path / "zoo" / "torrent.aria2").write_bytes(bytes(40))  # of all files in the folder
    found = audit(tmp_path / "zoo", {"k": KEY}, models=["cnn"], pixels="0..1")
    in_part = {name.format(form) for name in _IN_PART}
    assert {one.model for one in found} == named
    assert {one.model for one in found if one.verdict == "inconclusive"} == in_part
    assert {item.path for item in found.unreadable} - {"torrent.aria2"} == in_part
    monkeypatch.setattr(described, "unfinished", lambda *_: "")
    found = audit(tmp_path / "zoo", {"k": KEY}, models=["cnn"], pixels="0..1")
    assert {str(one.verdict) for one in found} == {"no-match"}


def test_a_link_to_half_a_download_is_one(tmp_path):
    (tmp_path / "zoo").mkdir()
    save_file(by_name(init(CONFIG, 7)), tmp_path / "zoo" / "s.safetensors.Xa1b2C")
    (tmp_path / "zoo" / "m.safetensors").symlink_to("s.safetensors.Xa1b2C")
    assert audited(tmp_path / "zoo") == ["inconclusive"]


def test_a_copy_is_known_by_any_name(tmp_path):
    for name in ("m.safetensors.Xa1b2C", ".m.safetensors", "m.safetensors.part"):
        save_file(by_name(marked(KEY)), tmp_path / name)
    assert audited(tmp_path) == ["match"] * 3


@pytest.mark.parametrize("marker", ["p.safetensors.part", "p.safetensors.aria2"])
def test_half_a_pack_clears_none_of_its_rows(tmp_path, marker):
    """An audit does not compare the digests of those that it clears."""
    (tmp_path / "zoo").mkdir()
    for place in range(2):
        save_file(by_name(init(CONFIG, place)), tmp_path / "zoo" / f"{place}.safetensors")
    pack(tmp_path / "zoo", tmp_path / "packs", models=["cnn"], images=[CONFIG.image])
    (file,) = (tmp_path / "packs").iterdir()
    assert audited(tmp_path / "packs") == ["no-match"] * 2
    if marker.endswith(".aria2"):
        file.rename(tmp_path / "packs" / "p.safetensors")
        (tmp_path / "packs" / marker).write_bytes(bytes(40))
    else:
        file.rename(tmp_path / "packs" / marker)
    assert set(audited(tmp_path / "packs")) == {"inconclusive"}


def test_each_of_the_files_beside_a_graph_may_be_half_a_download(tmp_path):
    """The first of its tensors' files alone was looked at."""
    model = onnx.load(path := Path(_onnx(tmp_path / "m", init(CONFIG, 7))))
    path.unlink()
    onnx.save(model, path, save_as_external_data=True, all_tensors_to_one_file=False, size_threshold=64)
    beside = sorted(file for file in tmp_path.iterdir() if file != path)
    result = audit(tmp_path, {"k": KEY}, pixels="0..1")
    assert ([str(found.verdict) for found in result], result.unreadable) == (["no-match"], [])
    for file in (beside[0], beside[-1]):
        file.with_name(f"{file.name}.aria2").write_bytes(bytes(40))
        assert audited(tmp_path) == ["inconclusive"]
        file.with_name(f"{file.name}.aria2").unlink()
