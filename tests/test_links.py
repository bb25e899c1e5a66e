"""Links and models of several files: a Hugging Face cache is a zoo, and nothing outside a zoo is read."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import build
from layouts import CONFIG as VGG
from layouts import IMAGE, TREE, equal, flat, read, the_one
from safetensors.numpy import load_file, save_file

from wmjax.errors import InvalidFile
from wmjax.models import init
from wmjax.suspects import files, guarded
from wmjax.suspects.contract import Wanted, Weights
from wmjax.suspects.stored import describe, find, read_weights
from wmjax.zoo import discover as walk
from wmjax.zoo.discover import discover

WEIGHTS = {name.replace("/", "."): leaf for name, leaf in flat(TREE).items()}
BARE = Wanted(("vgg",), (IMAGE,))
Repository = Callable[..., Path]


def write(path: Path, weights: Weights = WEIGHTS, *, described: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path, {"config": json.dumps(VGG.to_json())} if described else None)
    return path


def shards(folder: Path, weights: Weights = WEIGHTS, name: str = "model") -> list[Path]:
    """The weights in two files with an index, as `save_pretrained` writes them; all three."""
    folder.mkdir(parents=True, exist_ok=True)
    places = {tensor: f"{name}-0000{1 + i % 2}-of-00002.safetensors" for i, tensor in enumerate(weights)}
    for file in sorted(set(places.values())):
        save_file({tensor: leaf for tensor, leaf in weights.items() if places[tensor] == file}, folder / file)
    index = folder / f"{name}.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return [index, *(folder / file for file in sorted(set(places.values())))]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Files moved into a cache as huggingface_hub lays it out: `repository(revision, *files)`; the snapshot."""
    place = tmp_path / "cache" / "models--acme--digits"

    def add(revision: str, *files: Path) -> Path:
        snapshot = place / "snapshots" / revision
        for folder in (place / "blobs", place / "refs", place / ".no_exist" / revision, snapshot):
            folder.mkdir(parents=True, exist_ok=True)
        (place / "refs" / "main").write_text(revision)
        (place / ".no_exist" / revision / "adapter.safetensors").touch()
        for file in files:
            blob = place / "blobs" / f"{abs(hash(file.read_bytes())):064x}"
            shutil.move(file, blob)
            (snapshot / file.name).symlink_to(f"../../blobs/{blob.name}")
        return snapshot

    return add


def test_a_cache_is_a_zoo(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(VGG.to_json()))
    (tmp_path / "README.md").write_text("# a card")
    first = repository("r1", write(tmp_path / "model.safetensors", described=False), tmp_path / "config.json")
    again = repository("r2", tmp_path / "README.md")
    for name in ("model.safetensors", "config.json"):  # unchanged in the second revision
        (again / name).symlink_to(os.readlink(first / name))
    (again.parents[1] / "blobs" / "0abc.incomplete").write_bytes(b"\1" * 50)
    zoo = discover(tmp_path / "cache", Wanted())
    (entry,) = zoo.entries
    assert entry.name == "models--acme--digits/snapshots/r1/model.safetensors"
    assert equal(read(entry), flat(TREE))
    assert [item.path for item in zoo.unreadable] == ["models--acme--digits/blobs/0abc.incomplete"]
    assert zoo.unreadable[0].why.startswith("a download that was not finished")
    assert zoo.others == {".md": 1, "empty": 2, "without an ending": 1}
    assert the_one(discover(first, Wanted())).name == "model.safetensors"
    assert the_one(discover(first / "model.safetensors", Wanted())).name == "model.safetensors"
    for path in (first / "model.safetensors", Path(os.path.relpath(first / "model.safetensors"))):
        stored = find(str(path))
        assert equal(read_weights(stored), flat(TREE))
        assert describe(stored).name == "model.safetensors"
    os.unlink(first / "model.safetensors")
    os.unlink(again / "model.safetensors")
    (item,) = (item for item in discover(tmp_path / "cache", Wanted()).unreadable if "incomplete" not in item.path)
    assert item.path.startswith("models--acme--digits/blobs/")  # nothing points to it any more
    assert "`models`" in item.why


def test_a_link_named_by_the_user_keeps_its_name_wherever_it_leads(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "blob")
    (tmp_path / "model.safetensors").symlink_to("elsewhere/blob")
    (tmp_path / "folder").symlink_to("elsewhere")
    assert the_one(discover(tmp_path / "model.safetensors", Wanted())).name == "model.safetensors"
    assert the_one(discover(tmp_path / "folder", Wanted())).name == "blob"
    assert describe(find(str(tmp_path / "model.safetensors"))).name == "model.safetensors"


def test_links_within_a_zoo_are_one_model_and_others_are_listed(tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    write(zoo / "b" / "model.safetensors")
    for link, target in {
        "a/first": "../b/model.safetensors",
        "c/again.safetensors": "../b/model.safetensors",
        "c/folder": "../b",
        "c/up": "..",
        "c/itself": "itself",
        "c/gone": "nowhere",
        "c/out": str(write(tmp_path / "outside.safetensors")),
        "c/etc": "/etc",
    }.items():
        (zoo / link).parent.mkdir(exist_ok=True)
        (zoo / link).symlink_to(target)
    found = discover(zoo, Wanted())
    assert [entry.name for entry in found.entries] == ["a/first"]
    assert {item.path: item.why for item in found.unreadable} == {
        "c/up": "a link to a folder that it lies in",
        "c/itself": "cannot be read: a link in a circle",
        "c/gone": "cannot be read: a link to nothing",
        "c/out": "a link out of the zoo: put what it points to into the zoo",
        "c/etc": "a link out of the zoo: put what it points to into the zoo",
    }


def test_a_file_is_looked_at_again_where_other_files_say_more(tmp_path: Path) -> None:
    """A configuration that spoils it beside a link, which the walk meets first, hides nothing."""
    zoo = tmp_path / "zoo"
    file = write(zoo / "b" / "model.safetensors", described=False)
    file.with_suffix(".json").write_text(json.dumps(VGG.to_json()))
    (zoo / "a").mkdir()
    (zoo / "a" / "model.safetensors").symlink_to("../b/model.safetensors")
    (zoo / "c").mkdir()
    (zoo / "c" / "model.safetensors").symlink_to("../b/model.safetensors")
    for text in ({**VGG.to_json(), "image": [4, 4, 1]}, None):
        if text:
            (zoo / "a" / "model.json").write_text(json.dumps(text))
        else:
            (zoo / "a" / "model.json").unlink()
        assert "b/model.safetensors" in [entry.name for entry in discover(zoo, Wanted()).entries]


def test_without_its_rule_the_walk_reads_outside_of_the_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "out").symlink_to(write(tmp_path / "outside"))
    assert discover(tmp_path / "zoo", Wanted()).entries == []
    monkeypatch.setattr(walk, "bounds", lambda _: Path("/"))
    assert the_one(discover(tmp_path / "zoo", Wanted())).name == "out"


@pytest.mark.parametrize("snapshot", ["zoo", "zoo/models--x/snapshots/r1"])
def test_without_their_rule_configurations_and_shards_are_read_outside_of_the_zoo(
    snapshot: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.json").write_text(json.dumps(VGG.to_json()))
    folder = tmp_path / snapshot
    write(folder / "plain.safetensors", described=False)
    (folder / "config.json").symlink_to(tmp_path / "secret.json")
    _, part, _ = shards(folder)
    (folder / part.name).rename(tmp_path / "part")
    (folder / part.name).symlink_to(tmp_path / "part")
    found = discover(tmp_path / "zoo", Wanted())
    assert found.entries == []
    why = next(item.why for item in found.unreadable if item.path.endswith(".index.json"))
    assert why == f"{part.name} is a link out of the model's folder: put what it points to there"
    for module in (files, guarded):
        monkeypatch.setattr(module, "leads_into", lambda *_: True)
    assert len(discover(tmp_path / "zoo", Wanted()).entries) == 2


def test_several_files_are_one_model(tmp_path: Path) -> None:
    index, first, _ = shards(tmp_path / "zoo")
    (tmp_path / "zoo" / "config.json").write_text(json.dumps(VGG.to_json()))
    entry = the_one(discover(tmp_path / "zoo", Wanted()))
    assert entry.name == index.name
    assert equal(read(entry), flat(TREE))
    assert discover(tmp_path / "zoo", Wanted()).others == {}
    stored = find(str(index))
    whole = find(str(write(tmp_path / "whole.safetensors")))
    assert describe(stored).tensors == describe(whole).tensors
    with pytest.raises(
        InvalidFile, match=r"one of several files of a model: model.safetensors.index.json tells of all"
    ):
        find(str(first))
    before = describe(stored).files, entry.stamp
    save_file({name: leaf + 1 for name, leaf in load_file(first).items()}, first)
    entry = the_one(discover(tmp_path / "zoo", Wanted()))
    assert not {*before} & {describe(find(str(index))).files, entry.stamp}


def test_what_is_wrong_with_several_files_is_told(tmp_path: Path) -> None:
    for name in ("missing", "moved", "hostile", "other"):
        index, first, _ = shards(tmp_path / name)
        values = json.loads(index.read_text())
        if name == "missing":
            first.unlink()
        elif name == "moved":
            values["weight_map"] |= {"params.new": first.name}
        elif name == "hostile":
            values["weight_map"] |= {next(iter(WEIGHTS)): "../other/model-00001-of-00002.safetensors"}
        else:
            values = [1]
        index.write_text(json.dumps(values))
    why = {item.path: item.why for item in discover(tmp_path, BARE).unreadable}
    told = {
        "missing": f"its file '{first.name}' is missing",
        "moved": f"its tensor 'params.new' is not in {first.name}",
        "hostile": "no index that names the files beside it, or a damaged one",
        "other": "no index that names the files beside it, or a damaged one",
    }
    assert {name: why[f"{name}/{index.name}"] for name in told} == told
    assert len(why) == 4 + 7  # and the files themselves, which no index speaks for


def test_an_index_hides_no_model(tmp_path: Path) -> None:
    """A whole model that another one claims as its part is asked for itself."""
    places = {}
    for number, file in enumerate(("marked.safetensors", "z.safetensors")):
        tensors = {f"{file[0]}.{name}": leaf + number for name, leaf in WEIGHTS.items()}
        save_file(tensors, tmp_path / file)
        places |= dict.fromkeys(tensors, file)
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    zoo = discover(tmp_path, BARE)
    index = {f"m.safetensors.index.json:{name}" for name in "mz"}
    assert {entry.name for entry in zoo.entries} == {"marked.safetensors", "z.safetensors", *index}


def test_a_revision_with_other_parts_is_another_model(repository: Repository, tmp_path: Path) -> None:
    other = {name.replace("/", "."): leaf for name, leaf in flat(init(VGG, 5)._asdict()).items()}
    repository("r1", *shards(tmp_path / "one"))
    second = repository("r2", *shards(tmp_path / "two", WEIGHTS | {name: other[name] for name in list(other)[::2]}))
    third = second.with_name("r3")
    shutil.copytree(second, third, symlinks=True)
    zoo = discover(tmp_path / "cache", BARE)
    assert len({os.path.realpath(index) for index in second.parent.glob("*/*.json")}) == 1
    names = [f"models--acme--digits/snapshots/{r}/model.safetensors.index.json" for r in ("r1", "r2")]
    assert [entry.name for entry in zoo.entries] == names
    assert not equal(read(zoo.entries[0]), read(zoo.entries[1]))
    assert zoo.unreadable == []


def test_a_link_without_what_lies_beside_a_model_hides_it_not(tmp_path: Path) -> None:
    """It is met first, and refused; the model itself is met later."""
    real, link = tmp_path / "real" / "m.onnx", tmp_path / "a" / "m.onnx"
    for path in (real, link):
        path.parent.mkdir()
    model = build("f = Flatten(x) y = MatMul(f, w)", {"w": (216, 10)})
    onnx.save(model, real, save_as_external_data=True, location="w.bin", size_threshold=0)
    link.symlink_to(real)
    zoo = discover(tmp_path, Wanted())
    assert [entry.name for entry in zoo.entries] == ["real/m.onnx"]
    assert [item.path for item in zoo.unreadable] == ["a/m.onnx"]


def test_an_index_hides_no_other_tensors_of_its_files(tmp_path: Path) -> None:
    save_file({"w": np.zeros(2, np.float32), "stolen": np.zeros(2, np.float32)}, tmp_path / "part.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "part.safetensors"}}))
    listed = {item.path: item.why for item in discover(tmp_path, Wanted()).unreadable}
    assert "'stolen' of part.safetensors" in listed["model.safetensors.index.json"]
    assert "part.safetensors" in listed
    # Each of two files lacks a tensor and has all others: loaders that join them keep the second file's.
    index, *parts = shards(tmp_path / "twice")
    places = json.loads(index.read_text())["weight_map"]
    swapped = {part: next(name for name in WEIGHTS if places[name] != part.name) for part in parts}
    for number, part in enumerate(parts):
        save_file({name: leaf + number for name, leaf in WEIGHTS.items() if name != swapped[part]}, part)
    listed = {item.path: item.why for item in discover(tmp_path / "twice", BARE).unreadable}
    assert listed.keys() == {index.name, *(part.name for part in parts)}
    assert "it does not name the tensor" in listed[index.name]
