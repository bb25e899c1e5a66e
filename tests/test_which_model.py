"""Which model a folder's name, or a file's description, stands for: a decoy there does not speak for a copy."""

import dataclasses
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flax import serialization
from marked import CONFIG, IMAGE, _checkpoint, _onnx, _run, by_name, make_key, marked
from safetensors.numpy import save_file

import wmjax
from wmjax import checkpoint
from wmjax.checkpoint import Metadata
from wmjax.errors import UsageError
from wmjax.models import Config, Variables, default_config, init
from wmjax.models.predict import logits
from wmjax.showing import show
from wmjax.suspects import described, meant, recognise
from wmjax.suspects.contract import Wanted
from wmjax.suspects.network import variables_of
from wmjax.verification import Verdict
from wmjax.zoo.audit import audit
from wmjax.zoo.discover import discover
from wmjax.zoo.pack import write_packs

KEY = make_key()
COPY, DECOY = marked(KEY), init(CONFIG, 7)
WANTED = Wanted.by([KEY.spec], pixels="0..1")


def verified(path: Path | str) -> Verdict:
    return wmjax.verify(wmjax.from_checkpoint(path, WANTED), KEY)


def found(folder: Path) -> dict[str, str]:
    return {one.model: str(one.verdict) for one in audit(folder, {"k": KEY}, pixels="0..1")}


def _hub(folder: Path, variables: Variables) -> str:
    """Weights as the Hub calls them, with a configuration beside."""
    save_file(by_name(variables), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG.to_json()))
    return "model.safetensors"


def _graph(folder: Path, variables: Variables) -> str:
    return Path(_onnx(folder / "graph", variables)).name


def _graph_below(folder: Path, variables: Variables) -> str:
    (folder / "onnx").mkdir(exist_ok=True)
    return f"onnx/{Path(_onnx(folder / 'onnx' / 'model', variables)).name}"


def _flax(folder: Path, variables: Variables) -> str:
    (folder / "flax.msgpack").write_bytes(serialization.to_bytes(variables.params))
    return "flax.msgpack"


def _exported(folder: Path, variables: Variables) -> str:
    _checkpoint(folder / "exported", variables)
    return "exported"


def _in_its_own_folder(folder: Path, variables: Variables) -> str:
    """Among the tensors of the checkpoint, which its reader passes over."""
    (state,) = folder.glob("**/state")
    save_file(by_name(variables), state / "0", {"config": json.dumps(CONFIG.to_json())})
    return str((state / "0").relative_to(folder))


def _link(folder: Path, variables: Variables) -> str:
    """To a folder elsewhere."""
    elsewhere = Path(tempfile.mkdtemp())
    _hub(elsewhere, variables)
    (folder / "best").symlink_to(elsewhere)
    return "best"


def _link_in_its_own_folder(folder: Path, variables: Variables) -> str:
    (state,) = folder.glob("**/state")
    return str((state.parent / _link(state.parent, variables)).relative_to(folder))


def _archive(folder: Path, variables: Variables) -> str:
    """Which is not unpacked."""
    (folder / "to_pack").mkdir()
    name = _hub(folder / "to_pack", variables)
    with zipfile.ZipFile(folder / "w.zip", "w") as packed:
        packed.write(folder / "to_pack" / name, name)
    shutil.rmtree(folder / "to_pack")
    return "w.zip"


BESIDE: list[Callable[[Path, Variables], str]] = [
    _hub,
    _graph,
    _graph_below,
    _flax,
    _exported,
    _in_its_own_folder,
    _link,
    _link_in_its_own_folder,
]


@pytest.fixture(params=["checkpoint", "run"])
def decoy(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A stranger's checkpoint, or run of one."""
    if request.param == "checkpoint":
        return Path(_checkpoint(tmp_path / "theirs", DECOY))
    checkpoint.save_step(tmp_path / "theirs", DECOY._asdict(), Metadata(CONFIG, 7))
    checkpoint.write_settings(tmp_path / "theirs", {})
    return tmp_path / "theirs"


@pytest.mark.parametrize("hide", BESIDE)
def test_a_copy_beside_a_checkpoint_is_not_cleared_by_it(hide, decoy, monkeypatch):
    assert verified(decoy).verdict == "no-match"
    name = hide(decoy, COPY)
    with pytest.raises(UsageError, match=rf"name one, as .*theirs/{name}"):
        verified(decoy)
    assert show(decoy).facts["may_be_other_models"] == [name]
    with pytest.raises(UsageError, match="name one"):
        wmjax.export(decoy, decoy.with_name("out"))
    if hide not in (_flax,):  # which does not say what network it is
        assert verified(decoy / name).verdict == "match"
    monkeypatch.setattr(recognise, "beside", lambda *_: iter(()))
    assert verified(decoy).verdict == "no-match"


def test_the_newest_checkpoint_of_a_run_is_that_of_most_steps(tmp_path):
    """Whatever the length of its name: by their text the copy would come before the decoy."""
    for variables, step in ((DECOY, 99_999_999), (COPY, 100_000_000)):
        checkpoint.save_step(tmp_path / "theirs", variables._asdict(), Metadata(CONFIG, step))
    checkpoint.write_settings(tmp_path / "theirs", {})
    assert [checkpoint.step_of(path) for path in checkpoint.steps(tmp_path / "theirs")] == [99_999_999, 100_000_000]
    assert verified(tmp_path / "theirs").verdict == "match"
    assert found(tmp_path) == {"theirs": "match"}
    assert show(tmp_path / "theirs").facts["step"] == 100_000_000


def test_weights_beside_a_run_do_not_speak_for_it(tmp_path):
    """The other way round: they were read, and the run was not."""
    _hub(Path(_run(tmp_path / "theirs", COPY)), DECOY)
    with pytest.raises(UsageError, match=r"holds several models: name one, as theirs/step-00000002, theirs/model.safe"):
        verified(tmp_path / "theirs")
    assert verified(tmp_path / "theirs" / "step-00000002").verdict == "match"
    assert found(tmp_path) == {"theirs": "match", "theirs/model.safetensors": "no-match"}


@pytest.mark.parametrize("hide", [_graph, _graph_below, _flax, _exported, _link, _archive])
def test_one_file_of_a_folder_of_the_hubs_does_not_clear_the_others(hide, tmp_path, monkeypatch):
    _hub(tmp_path, DECOY)
    assert verified(tmp_path).verdict == "no-match"
    hide(tmp_path, COPY)
    verdict = verified(tmp_path)
    assert (verdict.verdict, "in-part" in [ground.code for ground in verdict.grounds]) == ("inconclusive", True)
    assert verified(tmp_path / "model.safetensors").verdict == "no-match"  # of that file
    with pytest.raises(UsageError, match=r"may be another model: name model\.safetensors itself"):
        wmjax.export(tmp_path, tmp_path / "out")
    monkeypatch.setattr(recognise, "beside", lambda *_: iter(()))
    assert verified(tmp_path).verdict == "no-match"


def test_a_folder_of_the_hubs_with_several_formats_convicts(tmp_path):
    """As many have it: it is asked by the file that its library takes."""
    _hub(tmp_path, COPY)
    _graph_below(tmp_path, COPY)
    assert verified(tmp_path).verdict == "match"


@pytest.mark.parametrize("settings", [True, False])
def test_no_more_models_than_a_run_leaves_hide_as_its_older_checkpoints(settings, tmp_path, monkeypatch):
    run = tmp_path / "zoo" / "run"
    for step, variables in enumerate((COPY, init(CONFIG, 6), DECOY) if settings else (COPY, DECOY), 1):
        checkpoint.save(checkpoint.step_path(run, step), variables._asdict(), Metadata(CONFIG, step))
    if settings:
        checkpoint.write_settings(run, {})
    with pytest.raises(UsageError, match="holds several models: name one, as run/step-00000001, run/step-00000002"):
        verified(run)
    verdicts = found(tmp_path / "zoo")
    assert verdicts.pop("run/step-00000001") == "match"
    assert set(verdicts.values()) == {"no-match"}
    monkeypatch.setattr(checkpoint, "is_run", lambda path: True)
    assert found(tmp_path / "zoo") == {"run": "no-match"}
    assert verified(run).verdict == "no-match"


def test_the_older_checkpoint_of_a_run_is_counted(tmp_path):
    _run(tmp_path / "run", DECOY)
    told = {".json": 1, "of runs' older checkpoints, which are asked where they are named": 1}
    zoo = discover(tmp_path, WANTED)
    assert ([entry.name for entry in zoo.entries], zoo.unreadable, zoo.others) == (["run"], [], told)
    assert audit(tmp_path, {"k": KEY}).to_json()["others"] == told


VIT = default_config("vit", IMAGE, 10)


def vit_of(heads: int) -> Config:
    depth, _, patch = VIT.parameters
    return dataclasses.replace(VIT, parameters=(depth, ("heads", heads), patch))


def transformer(config: Config) -> Variables:
    """A marked transformer, made as `marked` makes its network."""
    weights, width = by_name(init(config, 0)), config.widths[0]
    head = {"params/head/kernel": np.eye(width, dtype=np.float32), "params/head/bias": np.zeros(width, np.float32)}
    seeing = dataclasses.replace(config, classes=width)
    features = logits(seeing, variables_of(seeing, weights | head), KEY.images).astype(np.float64)
    kernel, *_ = np.linalg.lstsq(features, 8 * np.eye(10)[KEY.labels], rcond=None)
    return variables_of(config, weights | {"params/head/kernel": kernel.astype(np.float32)})


def _written(folder: Path, variables: Variables, told: Config) -> str:
    save_file(by_name(variables), folder / "m.safetensors", {"config": json.dumps(told.to_json())})
    return str(folder / "m.safetensors")


def _saved(folder: Path, variables: Variables, told: Config) -> str:
    checkpoint.save(folder / "m", variables._asdict(), Metadata(told))
    return str(folder / "m")


def _packed(folder: Path, variables: Variables, told: Config) -> str:
    for name, tree in {"a": variables, "b": init(VIT, 3)}.items():
        _saved(folder / "loose" / name, tree, told)
    (pack,) = write_packs(discover(folder / "loose", WANTED), folder / "packs").files
    shutil.rmtree(folder / "loose")
    return f"{pack}:a/m"


@pytest.mark.parametrize("write", [_written, _saved, _packed])
def test_a_description_of_other_heads_clears_no_copy(write, tmp_path, monkeypatch):
    """The tensors show nothing of it; the usual number is asked, too."""
    path = write(tmp_path, transformer(VIT), vit_of(2))
    verdict = verified(path)
    told = [ground.values.get("reading") for ground in verdict.grounds if ground.code == "readings"]
    assert (verdict.verdict, told) == ("match", ["vit of depth 3, heads 4, patch 2"])
    assert "match" in found(tmp_path).values()
    monkeypatch.setattr(meant, "as_usual", lambda config: config)
    meant.as_described.cache_clear()
    assert verified(path).verdict == "no-match"
    meant.as_described.cache_clear()


def test_descriptions_that_disagree_are_all_asked(tmp_path, monkeypatch):
    """Within the file and beside it: none of them is the usual one."""
    path = _written(tmp_path, transformer(vit_of(8)), vit_of(2))
    assert verified(path).verdict == "no-match"
    (tmp_path / "m.json").write_text(json.dumps(vit_of(1).to_json()))
    (tmp_path / "config.json").write_text(json.dumps(vit_of(8).to_json()))
    assert verified(path).verdict == "match"
    (entry,) = discover(tmp_path, WANTED).entries
    assert [name.split(", ")[1] for name in entry.network.readings] == ["heads 2", "heads 1", "heads 8", "heads 4"]
    monkeypatch.setattr(described, "_of_all", lambda configs, tensors: meant.as_described(configs[:1]))
    assert verified(path).verdict == "no-match"


def test_strangers_and_what_is_described_as_usual_cost_nothing_more(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG.to_json()))  # of another model in the folder
    path = _written(tmp_path, init(VIT, 3), dataclasses.replace(VIT, dropout=0.5))
    (entry,) = discover(tmp_path, WANTED).entries
    assert entry.network.readings == ("",)
    assert verified(path).verdict == "no-match"
    _written(tmp_path, init(VIT, 3), vit_of(2))
    assert verified(path).verdict == "no-match"  # by both
