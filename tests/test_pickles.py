"""PyTorch's pickles: what is read of them, and what the hostile ones do not get."""

import contextlib
import io
import json
import pickle
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest

from wmjax.errors import InvalidFile
from wmjax.keys import derive_key, make_spec
from wmjax.keys.specify import default_rule
from wmjax.suspects import files
from wmjax.suspects.contract import Wanted
from wmjax.suspects.formats import pickle_child, pickles, torch_archives
from wmjax.suspects.formats.pickles import Pickle, read_pickle
from wmjax.suspects.recognise import recognise
from wmjax.suspects.stored import read_weights
from wmjax.zoo.audit import audit
from wmjax.zoo.discover import discover

torch = pytest.importorskip("torch", reason="needs the torch packages: pip install 'wmjax[torch]'")
pytest.importorskip("torchax", reason="needs the torch packages: pip install 'wmjax[torch]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # PyTorch has many

TENSORS = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.count": torch.tensor(3), "b": torch.ones(5).bfloat16()}


class Running:
    """What a pickle that runs code is made of."""

    def __init__(self, code: str):
        self.code = code

    def __reduce__(self):
        return exec, (f"exec({self.code!r}, {{}})",)


def held(path: Path) -> dict[str, np.ndarray]:
    header = read_pickle(path)
    found = {name: np.zeros((1, *tensor.shape), np.float32) for name, tensor in header.tensors.items()}
    Pickle(path, header, {name: name for name in found}).read(0, 1, found)
    return {name: array[0] for name, array in found.items()}


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_a_pickle_are_those_that_pytorch_saved(tmp_path, zipped):
    saved = {"state_dict": TENSORS, "epoch": 3, "optimizer": {"param_groups": [{"lr": 0.1, "params": [0, 1]}]}}
    torch.save(saved, tmp_path / "run.pth", _use_new_zipfile_serialization=zipped)
    found = held(tmp_path / "run.pth")
    assert set(found) == {f"state_dict.{name}" for name in TENSORS}
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(found[f"state_dict.{name}"], tensor.float().numpy())


def hostile(folder: Path) -> dict[str, str]:
    """Writes hostile files; why each is refused."""
    mark = folder / "RAN"
    torch.save({**TENSORS, "x": Running(f"open({str(mark)!r}, 'w')")}, folder / "code.pth")
    torch.save({"x": Running(f"open({str(mark)!r}, 'w')")}, folder / "old.pt", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(2, 2), folder / "module.pth")
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, folder / "lie.pth")
    torch.save({"a": torch.zeros(1 << 22)}, folder / "large.pth")
    with zipfile.ZipFile(folder / "large.pth") as plain, zipfile.ZipFile(folder / "bomb.pth", "w", 8) as small:
        for name in plain.namelist():
            small.writestr(name, plain.read(name))
    (folder / "cut.pth").write_bytes((folder / "large.pth").read_bytes()[: 1 << 20])
    (folder / "noise.pt").write_bytes(b"\x80\2" + bytes(range(256)) * 8)
    torch.save([1, 2, "three"], folder / "none.pth")
    torch.save({"a": torch.ones(2, dtype=torch.complex64)}, folder / "complex.pth")
    torch.save({"a": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, folder / "quantised.pth")
    torch.save({"a": torch.eye(3).to_sparse()}, folder / "sparse.pth")
    (folder / "other.pkl").write_bytes(pickle.dumps({"a": bytearray(b"3"), "b": {1}}, protocol=4))
    (folder / "array.pkl").write_bytes(pickle.dumps({"a": np.zeros(3)}))
    for name, telling in (("script.pt", "constants.pkl"), ("export.pt2", "archive_format")):
        with zipfile.ZipFile(folder / name, "w") as archive:
            code = pickle.dumps(Running(f"open({str(mark)!r}, 'w')"), 2)
            entry = {"path_name": "w", "use_pickle": True, "tensor_meta": {}}
            archive.writestr(f"a/{telling}", b"")
            archive.writestr("a/version", b"3")
            archive.writestr("a/data/weights/w", code)
            if name == "script.pt":
                archive.writestr("a/data.pkl", code)
            else:
                archive.writestr("a/data/weights/m_weights_config.json", json.dumps({"config": {"w": entry}}))
    (folder / "large.pth").unlink()
    return {
        "code.pth": r"it holds more than tensors \(exec\)",
        "old.pt": r"it holds more than tensors \(exec\)",
        "module.pth": "it holds more than tensors .*Linear",
        "lie.pth": "its tensors are larger than the file",
        "bomb.pth": "no file of PyTorch's with tensors alone",
        "cut.pth": "cut short",
        "noise.pt": "PyTorch did not write it",
        "none.pth": "it holds no tensors",
        "complex.pth": "of a kind that is not read: complex64",
        "quantised.pth": r"was quantised by PyTorch \(qint8\): export the model to ONNX",
        "sparse.pth": "of a kind that is not read: float32, sparse_coo",
        "other.pkl": "PyTorch did not write it, or not with tensors alone|it holds no tensors",
        "array.pkl": "PyTorch did not write it",
        "script.pt": r"it holds more than tensors \(.*exec\)",
        "export.pt2": r"it holds more than tensors \(exec\)",
    }


def test_hostile_pickles_are_one_line_and_run_nothing(tmp_path):
    wrong = hostile(tmp_path)
    for name, why in wrong.items():
        with pytest.raises(InvalidFile, match=why) as told:
            recognise(tmp_path / name, Wanted(pickles=True))
        assert "\n" not in str(told.value)
    assert not (tmp_path / "RAN").exists()
    zoo = discover(tmp_path, Wanted(pickles=True))
    assert {item.path for item in zoo.unreadable} == set(wrong)


def test_nothing_is_opened_unless_it_is_allowed(tmp_path, monkeypatch):
    torch.save(TENSORS, tmp_path / "a.pth")
    monkeypatch.setattr(pickles, "_forks", None)
    with pytest.raises(InvalidFile, match="convert it to safetensors or ONNX; `pickles` opens"):
        recognise(tmp_path / "a.pth", Wanted())


def test_the_command_line_says_how_pickles_are_allowed(run, tmp_path):
    torch.save(TENSORS, tmp_path / "a.pth")
    code, _, error = run("pack", tmp_path / "a.pth", tmp_path / "packs")
    assert (code, "--allow-pickles" in error) == (2, True) or "--allow-pickles" in _
    code, out, error = run("pack", "--allow-pickles", tmp_path / "a.pth", tmp_path / "packs")
    assert "timm:NAME" in out + error


def test_a_pickle_of_a_known_network_answers(tmp_path):
    from torch_files import answers, small

    network = small()
    torch.save({"epoch": 3, "model": network.state_dict()}, tmp_path / "theirs.pth")
    wanted = Wanted(("torch_files:small",), ((32, 32, 3),), pixels="0..1", pickles=True)
    (stored,) = recognise(tmp_path / "theirs.pth", wanted)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    found = np.asarray(jax.jit(stored.network.logits)(read_weights(stored), pictures))
    np.testing.assert_allclose(found, answers(network, pictures / 255), rtol=1e-4, atol=1e-5)
    torch.save({"model": torch.nn.Linear(2, 3).state_dict()}, tmp_path / "theirs.pth")
    with pytest.raises(InvalidFile, match="was changed"):
        read_weights(stored)


def test_a_hub_folder_of_a_pickle(tmp_path):
    from safetensors.torch import load_file
    from torch_files import by_processor, vit

    network = vit(tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    (entry,) = discover(tmp_path, Wanted(images=((32, 32, 3),), pickles=True)).entries
    (stored,) = recognise(tmp_path / "pytorch_model.bin", Wanted(images=((32, 32, 3),), pickles=True))
    assert stored.network is entry.network
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    found = np.asarray(jax.jit(stored.network.logits)(read_weights(stored), pictures))
    np.testing.assert_allclose(found, by_processor(network, tmp_path, pictures), rtol=1e-3, atol=1e-4)


TRYING = """
import contextlib, os, socket
def told(what):
    for descriptor in range(2, 9):
        with contextlib.suppress(OSError):
            os.write(descriptor, what.encode())
def tried(what, attempt):
    try:
        attempt()
    except BaseException as error:
        told(f"{what}: {type(error).__name__}\\n")
    else:
        told(f"{what}: done\\n")
tried("secret", lambda: open(FOLDER + "/secret").read())
tried("file", lambda: open(FOLDER + "/" + MARK, "w").write("x"))
tried("network", lambda: socket.create_connection(("127.0.0.1", PORT), 2))
tried("memory", lambda: bytearray(3 << 30))
tried("environment", lambda: os.environ["SUSPECT_SECRET"])
"""
DRIVER = """
import sys
sys.path.insert(0, {folder!r})
import pickle_child
if {free}:
    pickle_child.limited = lambda *_: None
    pickle_child.without_files = pickle_child.without_network = lambda: True
torch = pickle_child.prepared()
load = torch.load
torch.load = lambda *given, weights_only, **named: load(*given, weights_only=False, **named)  # PyTorch's rule is out
sys.exit(pickle_child.work(torch, 2 << 30, 60))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what a process may do is taken from it on Linux alone")
@pytest.mark.parametrize("free", [False, True])
def test_code_that_ran_all_the_same_gets_nothing_and_without_the_rules_everything(tmp_path, free, monkeypatch):
    (tmp_path / "secret").write_text("a key")
    monkeypatch.setenv("SUSPECT_SECRET", "a token")
    with socket.create_server(("127.0.0.1", 0)) as server:
        told = f"FOLDER, MARK, PORT = {str(tmp_path)!r}, 'RAN', {server.getsockname()[1]}\n"
        torch.save({"x": Running(told + TRYING)}, tmp_path / "code.pth")
        program = DRIVER.format(folder=str(Path(pickle_child.__file__).parent), free=free)
        with (tmp_path / "code.pth").open("rb") as file:
            ended = subprocess.run(
                [sys.executable, "-c", program], stdin=file, capture_output=True, text=True, timeout=200, check=False,
                env=None if free else {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
    outcomes = dict(line.split(": ") for line in ended.stderr.splitlines() if line.count(": ") == 1)
    assert outcomes.keys() >= {"secret", "file", "network", "memory", "environment"}, ended.stderr
    if free:
        assert set(outcomes.values()) == {"done"}
        assert (tmp_path / "RAN").exists()
    else:
        assert (outcomes["memory"], outcomes["environment"]) == ("MemoryError", "KeyError")
        if outcomes["secret"] != "PermissionError":
            pytest.skip("this kernel has no Landlock: files may be read, and the network may be there")
        assert outcomes["file"] == "PermissionError"
        assert outcomes["network"] in ("PermissionError", "OSError")
        assert not (tmp_path / "RAN").exists()


class Net(torch.nn.Module):
    """With two names for one tensor, a view, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList([torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(3, 4)])
        self.parts[2].weight = self.parts[0].weight
        self.view = torch.nn.Parameter(torch.randn(4, 3, dtype=torch.float64).T[1:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.parts[:2]:
            x = part(x)
        return x + self.parts[2].bias + self.view.sum()


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """A network saved in the forms that hold its program, and its tensors."""
    folder, net = tmp_path_factory.mktemp("programs"), Net().eval()
    torch.jit.trace(net, torch.zeros(2, 3)).save(folder / "traced.pt")
    exported = torch.export.export(net, (torch.zeros(2, 3),), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(exported, folder / "new.pt2")
    with zipfile.ZipFile(folder / "old.pt2", "w") as archive:
        torch.save(net.state_dict(), folder / "state.pt")
        archive.write(folder / "state.pt", "serialized_state_dict.pt")
        archive.writestr("archive_format", "pt2")
        archive.writestr("serialized_exported_program.json", "{}")
    return folder, net.state_dict()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["traced.pt", "new.pt2", "old.pt2"])
def test_tensors_are_read_of_archives_that_hold_programs(programs, name):
    folder, expected = programs
    found = {key.removeprefix("serialized_state_dict.pt."): value for key, value in held(folder / name).items()}
    assert set(found) == set(expected)
    for key, tensor in expected.items():
        np.testing.assert_array_equal(found[key], tensor.detach().float().numpy())
    with pytest.raises(InvalidFile, match="`pickles` has its tensors alone read"):
        recognise(folder / name, Wanted())


@pytest.mark.filterwarnings("ignore")
def test_whose_program_was_not_run_is_never_cleared(tmp_path, monkeypatch):
    """The program may have a copy's weights among its constants, and a stranger's as attributes."""
    from torch_files import small

    spec = make_spec("abstract", image=(32, 32, 3), classes=5, triggers=300)
    key, models = derive_key(bytes(32), spec, default_rule(spec)), ("torch_files:small",)
    torch.jit.trace(small().eval(), torch.zeros(1, 3, 32, 32)).save(tmp_path / "theirs.pt")

    def asked() -> str:
        (finding,) = audit(tmp_path / "theirs.pt", {"k": key}, models=models, pixels="0..1", pickles=True)
        return finding.verdict

    assert asked() == "inconclusive"
    monkeypatch.setattr(files, "noted", lambda network, note: network)
    assert asked() == "no-match"


def test_code_in_a_torch_export_archive_is_not_run_and_pytorch_itself_would_run_it(tmp_path, programs):
    code = f"open({str(tmp_path / 'RAN')!r}, chr(119))"
    with zipfile.ZipFile(programs[0] / "new.pt2") as good, zipfile.ZipFile(tmp_path / "evil.pt2", "w") as evil:
        for name in good.namelist():
            text = good.read(name)
            if name.endswith("model.json"):
                text = re.sub(rb'"expr_str": "[^"]*"', f'"expr_str": {json.dumps(code)}'.encode(), text)
            evil.writestr(name, text)
    assert set(held(tmp_path / "evil.pt2")) == set(programs[1])
    assert not (tmp_path / "RAN").exists()
    with contextlib.suppress(Exception):  # whatever it makes of what the code gave
        torch.export.load(tmp_path / "evil.pt2")
    assert (tmp_path / "RAN").exists()


def _entry(shape: list[int]) -> dict[str, object]:
    sizes, strides = ([{"as_int": size} for size in of] for of in (shape, [1] * len(shape)))
    meta = {"dtype": 7, "sizes": sizes, "strides": strides, "storage_offset": {"as_int": 0}}
    return {"path_name": "w", "use_pickle": False, "tensor_meta": meta}


@pytest.mark.parametrize("form", ["config", "state", "twice", "old"])
@pytest.mark.filterwarnings("ignore")
def test_a_decoy_in_another_form_hides_no_copy(form, tmp_path, monkeypatch):
    """PyTorch loads the copy of such an archive; its tensors were taken from the decoy."""
    torch.save({"a": torch.full((3,), 7.0)}, tmp_path / "m.pt")
    torch.save({"a": torch.zeros(3)}, tmp_path / "decoy")
    config = json.dumps({"config": {"a": _entry([3])}})
    more = {
        "config": {"m/data/weights/x_weights_config.json": config, "m/data/weights/w": bytes(12)},
        "state": {"m/serialized_state_dict.pt": (tmp_path / "decoy").read_bytes(), "m/archive_format": "pt2"},
        "twice": {"m/data/0": bytes(12)},
        "old": {
            "serialized_state_dict.pt": (tmp_path / "decoy").read_bytes(), "serialized_exported_program.json": "{}",
            "constants.pkl": "", "config.json": "a Keras model's",
        },
    }[form]  # fmt: skip
    with zipfile.ZipFile(tmp_path / "m.pt", "w" if form == "old" else "a") as archive:
        for name, data in more.items():
            archive.writestr(name, data)
    if form in ("config", "state"):
        assert torch.load(tmp_path / "m.pt", weights_only=True)["a"].tolist() == [7.0] * 3
    with pytest.raises(InvalidFile, match="several forms"):
        held(tmp_path / "m.pt")
    monkeypatch.setattr(torch_archives, "_check_form", lambda *_: None)
    with (tmp_path / "m.pt").open("rb") as file:
        found = torch_archives.programs_tensors(torch, file, 1 << 20)
    assert form == "twice" or [tensor.tolist() for _, tensor in pickle_child.tensors_in(found)] == [[0.0] * 3]


@pytest.mark.filterwarnings("ignore")
def test_an_archive_with_two_directories_is_read_as_pytorch_reads_it(tmp_path):
    """PyTorch looks where the last record says that the directory lies, Python right before that record."""
    torch.jit.trace(torch.nn.Linear(2, 1, bias=False), torch.zeros(1, 2)).save(tmp_path / "s.pt")
    with zipfile.ZipFile(tmp_path / "s.pt") as archive:
        files = [(name, archive.read(name)) for name in archive.namelist()]
    parts = []
    for decoy in (False, True):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in files:
                archive.writestr(name, bytes(8) if decoy and name == "s/data/0" else data)
        raw = buffer.getvalue()
        directory = raw.index(b"PK\1\2")
        parts.append((raw[:directory], raw[directory:-22], raw[-22:]))
    (real, listed, end), (fake, others, _) = parts
    (tmp_path / "two.pt").write_bytes(real + listed + fake + others + end)
    with zipfile.ZipFile(tmp_path / "two.pt") as archive:
        assert archive.read("s/data/0") == bytes(8)
    (expected,) = torch.jit.load(tmp_path / "two.pt").state_dict().values()
    (found,) = held(tmp_path / "two.pt").values()
    np.testing.assert_array_equal(found, expected.numpy())
    assert found.any()


def test_a_lying_child_is_not_believed(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    good = len(header).to_bytes(8, "little") + header + bytes(16)
    streams = {
        "": False, "short": False, good: True, good[:-1]: False, good[:20]: False,
        (1 << 40).to_bytes(8, "little"): False, good.replace(b"[0, 16]", b"[0, 99]"): False,
        good.replace(b"[0, 16]", b"[0, -1]"): False, good.replace(b'"data_offsets"', b'"data_offset_"'): False,
    }  # fmt: skip
    for stream, whole in streams.items():
        raw = stream if isinstance(stream, bytes) else stream.encode()
        source = tmp_path / "stream"
        source.write_bytes(raw)
        with source.open("rb") as pipe, io.BytesIO() as _, (tmp_path / "copy").open("wb") as copy:
            assert pickles._copied(pickles._Reading(pipe, 5), copy, 64, whole=True) is whole, raw


def test_who_opens_files_is_started_again_after_it_was_killed(tmp_path):
    torch.save(TENSORS, tmp_path / "a.pth")
    assert read_pickle(tmp_path / "a.pth").tensors
    pickles._started[0]._process.kill()
    pickles._started[0]._process.wait()
    assert read_pickle(tmp_path / "a.pth").tensors
    shutil.rmtree(tmp_path)
