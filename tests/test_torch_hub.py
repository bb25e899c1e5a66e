"""Networks of PyTorch: folders of transformers and timm, names of timm and torchvision, modules of one's own."""

import json
import shutil
import socket
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from wmjax.errors import InvalidFile, UsageError
from wmjax.suspects.contract import Wanted
from wmjax.suspects.formats import torch_build, torch_hub
from wmjax.suspects.grounds import AskedGround
from wmjax.suspects.pixels import PIXELS
from wmjax.suspects.recognise import check, recognise
from wmjax.suspects.stored import read_weights, suspect_of
from wmjax.zoo.discover import discover
from wmjax.zoo.pack import write_packs

pytest.importorskip("torchax", reason="needs the torch packages: pip install 'wmjax[torch]'")
pytest.importorskip("timm", reason="needs the torch packages: pip install 'wmjax[torch]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # PyTorch's libraries have many

IMAGE = (32, 32, 3)
PICTURES = np.random.default_rng(0).integers(0, 256, (3, *IMAGE), np.uint8)


def scores(stored, pictures=PICTURES, reading=0):
    return np.asarray(jax.jit(stored.network.logits)(read_weights(stored), pictures, reading))


def agree(ours, theirs):
    assert np.abs(theirs).max() > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


def test_a_folder_of_transformers_answers_as_transformers(tmp_path):
    from torch_files import by_processor, vit

    network = vit(tmp_path)
    (stored,) = recognise(tmp_path, Wanted(images=((8, 8, 1),)))
    assert stored.path == tmp_path / "model.safetensors"
    assert suspect_of(stored, "theirs").class_names == tuple(f"class {i}" for i in range(7))
    assert (stored.network.image, stored.network.classes) == (IMAGE, 7)
    assert stored.network.readings == ("stated", *PIXELS)
    agree(scores(stored), by_processor(network, tmp_path, PICTURES))
    # Stored names are not the module's: whoever filled it by name would leave attention at random.
    assert set(stored.source.names.values()) != {name.replace("/", ".") for name in stored.source.names}


def test_models_of_an_architecture_are_one_family_also_in_shards_and_in_a_cache(tmp_path):
    from torch_files import by_processor, vit

    networks = [vit(tmp_path / "zoo" / name, seed, name) for seed, name in enumerate(("cats", "dogs"))]
    networks.append(vit(tmp_path / "zoo" / "shards", 2, max_shard_size="5KB"))
    networks.append(vit(tmp_path / "flat", 3))
    cache = tmp_path / "zoo" / "models--x"
    for folder in ("blobs", "snapshots/r1"):
        (cache / folder).mkdir(parents=True)
    for file in (tmp_path / "flat").iterdir():
        shutil.move(file, cache / "blobs" / f"sha-{file.name}")
        (cache / "snapshots/r1" / file.name).symlink_to(f"../../blobs/sha-{file.name}")

    zoo = discover(tmp_path / "zoo", Wanted(images=(IMAGE,)))
    assert [entry.name for entry in zoo.entries] == [
        "cats/model.safetensors",
        "dogs/model.safetensors",
        "models--x/snapshots/r1/model.safetensors",
        "shards/model.safetensors.index.json",
    ]
    assert zoo.unreadable == []
    (family,) = {entry.network for entry in zoo.entries}
    stacked = {name: np.empty((4, *leaf.shape), leaf.dtype) for name, leaf in family.shapes.items()}
    for row, entry in enumerate(zoo.entries):
        entry.source.read(0, 1, {name: array[row : row + 1] for name, array in stacked.items()})
    side_by_side = np.asarray(jax.jit(jax.vmap(family.logits, (0, None)))(stacked, PICTURES))
    for row, place in enumerate((0, 1, 3, 2)):
        agree(side_by_side[row], by_processor(networks[place], tmp_path / "zoo/cats", PICTURES))

    (file,) = write_packs(zoo, tmp_path / "packs").files
    packed = discover(file, Wanted(images=(IMAGE,))).entries
    assert {entry.network for entry in packed} == {family}


def test_tensors_that_transformers_joins_are_read_by_its_own_loading(tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file
    from torch_files import by_processor, vit

    network = vit(tmp_path)
    plain = torch_build.transformers_module
    monkeypatch.setattr(torch_build, "transformers_module", lambda *given: (plain(*given)[0], None, plain(*given)[2]))
    torch_hub._network.cache_clear()
    (stored,) = recognise(tmp_path / "model.safetensors", Wanted())
    own = load_file(tmp_path / "model.safetensors")
    more = {f"shadow.{place}": 2 * value for place, value in enumerate(own.values())}
    (tmp_path / "more").mkdir()
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copy(tmp_path / name, tmp_path / "more")
    save_file(own | more, tmp_path / "more" / "model.safetensors")
    (beside,) = recognise(tmp_path / "more" / "model.safetensors", Wanted())
    torch_hub._network.cache_clear()
    assert (stored.network.note, beside.network.note) == ("", AskedGround.IN_PART)
    assert beside.left.startswith(f"{len(more)} tensors beside its models")
    assert isinstance(stored.source, torch_hub.Converted)
    agree(scores(stored), by_processor(network, tmp_path, PICTURES))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_of_timm_answers_as_timm_also_from_a_pack(tmp_path, channels, monkeypatch):
    from torch_files import answers, timm_network

    network = timm_network("test_vit", tmp_path, in_chans=channels, img_size=32)
    (stored,) = recognise(tmp_path / "model.safetensors", Wanted())
    assert (stored.network.image, stored.network.classes) == ((32, 32, channels), 7)
    assert len(stored.network.readings) == (12 if channels == 3 else 8)  # in colour also with blue first
    pictures = PICTURES[..., :channels]
    mean, std = (np.array(network.pretrained_cfg[name])[:channels] for name in ("mean", "std"))
    expected = answers(network, (pictures / 255 - mean) / std)
    agree(scores(stored, pictures), expected)
    (file,) = write_packs(discover(tmp_path, Wanted()), tmp_path / "packs").files
    monkeypatch.setattr(torch_hub, "_traced", {}.get)  # as in another process
    torch_hub._network.cache_clear()
    monkeypatch.setattr(torch_build, "_SPARE", 0)
    (packed,) = recognise(file, Wanted())
    agree(scores(packed, pictures), expected)


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_every_set_of_weights_in_a_folder_of_the_hub_is_asked(library, tmp_path):
    """An average beside the weights that the library itself takes; what an optimiser keeps is counted."""
    from safetensors.torch import load_file, save_file
    from torch_files import timm_network, vit

    if library == "timm":
        timm_network("test_vit", tmp_path, img_size=32)
    else:
        vit(tmp_path)
    own = load_file(tmp_path / "model.safetensors")
    more = {f"ema.{name}": 2 * value for name, value in own.items()}
    kept = {f"optimizer.exp_avg.{name}": 3 * value for name, value in own.items()}
    save_file(own | more | kept, tmp_path / "model.safetensors")
    first, average = recognise(tmp_path / "model.safetensors", Wanted())
    assert (first.name, average.name, first.passed) == (".", "ema", 1)
    weights, others = read_weights(first), read_weights(average)
    assert all(np.array_equal(2 * weights[name], others[name]) for name in weights)


def convolutions(folder: Path, library: str) -> None:
    """A network that takes images of any size, in a folder whose files state 32 pixels."""
    import torch_files
    import transformers

    if library == "timm":
        torch_files.timm_network("test_resnet", folder)
        return
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], num_labels=7)
    transformers.ResNetForImageClassification(config).save_pretrained(folder)
    torch_files.processor(folder)


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_a_folder_that_states_its_size_is_one_network_for_keys_of_two_sizes(library, tmp_path, monkeypatch):
    """Or the same weights would be asked twice, and count twice in the bound over all pairs."""
    convolutions(tmp_path / "theirs", library)
    two = Wanted(images=((8, 8, 1), (64, 64, 3)))
    (entry,) = discover(tmp_path, two).entries
    assert (entry.network.image, entry.network.readings[0]) == (IMAGE, "stated")
    plain = torch_hub._recipe

    def as_it_was(hub, image, said):
        return json.dumps(json.loads(plain(hub, image, said)) | {"image": image})

    monkeypatch.setattr(torch_hub, "_recipe", as_it_was)
    assert [one.network.image for one in discover(tmp_path, two).entries] == [IMAGE, IMAGE]


def test_weights_without_a_head_are_not_told_that_the_network_takes_no_images(tmp_path):
    np.savez(tmp_path / "m.npz", a=np.zeros(3, np.float32))
    wanted = Wanted(("timm:test_resnet",), images=((8, 8, 1),), classes=(7,))
    with pytest.raises(InvalidFile, match="as timm:test_resnet it does not take the keys' images"):
        recognise(tmp_path / "m.npz", wanted)


def test_weights_of_torchvision_by_name(tmp_path):
    import torch
    import torchvision
    from torch_files import answers, state_dict

    torch.manual_seed(0)  # some draws of it answer with zeros alone
    network = torchvision.models.squeezenet1_1(num_classes=7)
    state_dict(network, tmp_path / "theirs.safetensors")
    wanted = Wanted(("torchvision:squeezenet1_1",), (IMAGE,))
    check(wanted)
    (stored,) = recognise(tmp_path / "theirs.safetensors", wanted)
    assert (stored.network.image, stored.network.classes) == (IMAGE, 7)
    agree(scores(stored, reading=stored.network.readings.index("0..255")), answers(network, PICTURES))
    (file,) = write_packs(discover(tmp_path, wanted), tmp_path / "packs").files
    assert discover(file, wanted).entries[0].network is stored.network
    with pytest.raises(InvalidFile, match="torchvision:NAME"):
        recognise(tmp_path / "theirs.safetensors", Wanted())
    for name in ("timm:no_such_network", "torchvision:resnet17"):
        with pytest.raises(UsageError, match="has no such network"):
            check(Wanted((name,), (IMAGE,)))


def test_a_pool_wider_than_the_image_takes_its_mean(tmp_path):
    import torch_files

    network = torch_files.widely_pooled()
    torch_files.state_dict(network, tmp_path / "wide.safetensors")
    (stored,) = recognise(
        tmp_path / "wide.safetensors", Wanted(("torch_files:widely_pooled",), (IMAGE,), pixels="0..1")
    )
    agree(scores(stored), torch_files.answers(network, PICTURES / 255.0))
    program = jax.jit(stored.network.logits).lower(read_weights(stored), PICTURES, 0).as_text()
    assert "2560" not in program


def test_a_module_of_ones_own(tmp_path):
    import torch
    from torch_files import answers, small, state_dict

    network = small()
    with torch.no_grad():
        network.train()(torch.randn(8, 3, 32, 32))
    state_dict(network, tmp_path / "theirs.safetensors")
    (stored,) = recognise(tmp_path / "theirs.safetensors", Wanted(("torch_files:small",), (IMAGE,), pixels="0..1"))
    assert not any("num_batches_tracked" in name for name in stored.network.shapes)
    agree(scores(stored), answers(network, PICTURES / 255))
    (stored,) = recognise(tmp_path / "theirs.safetensors", Wanted(("torch_files:prepared",), (IMAGE,)))
    agree(scores(stored), answers(network, PICTURES - 100.0))
    with pytest.raises(UsageError, match=r"\[1, 1\], not \[1, classes\]"):
        check(Wanted(("torch_files:no_classifier",), (IMAGE,)))


def test_whole_numbers_are_those_of_the_file(tmp_path):
    from torch_files import Whole, answers, state_dict

    wanted = Wanted(("torch_files:Whole",), (IMAGE,), pixels="0..1")
    networks = [Whole.trained(seed) for seed in range(2)]
    for seed, network in enumerate(networks):
        state_dict(network, tmp_path / f"{seed}.safetensors")
    found = discover(tmp_path, wanted).entries
    assert {name: str(leaf.dtype) for name, leaf in found[0].network.shapes.items() if "/" not in name} == {
        "weight_int8": "int8", "weight_scale": "float32", "order": "int32", "mask": "bool"
    }  # fmt: skip
    for stored, network in zip(
        [recognise(tmp_path / f"{seed}.safetensors", wanted)[0] for seed in range(2)], networks, strict=True
    ):
        agree(scores(stored), answers(network, PICTURES / 255))
    (file,) = write_packs(discover(tmp_path, wanted), tmp_path / "packs").files
    agree(scores(recognise(file, wanted)[1]), answers(networks[1], PICTURES / 255))
    networks[0].order[0] += 1 << 32  # PyTorch would refuse it: it is no place
    state_dict(networks[0], tmp_path / "0.safetensors")
    with pytest.raises(InvalidFile, match="too large for int32"):
        read_weights(recognise(tmp_path / "0.safetensors", wanted)[0])
    networks[0].order = networks[0].order.double()
    state_dict(networks[0], tmp_path / "0.safetensors")
    with pytest.raises(InvalidFile, match="order is of type float64, not int32"):
        recognise(tmp_path / "0.safetensors", wanted)


def altered(folder: Path, **changes) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | changes))


HOSTILE = {
    "an unknown kind": ({"model_type": "their_own"}, "does not know"),
    "code of its own": ({"model_type": "their_own", "auto_map": {"AutoModel": "planted.Net"}}, "does not know"),
    "no classifier": ({"architectures": ["ViTModel"]}, "no image classifier"),
    "another network": ({"model_type": "timm_wrapper"}, "refers to another network"),
    "quantised": ({"quantization_config": {"quant_method": "gptq"}}, "quantised weights"),
    "a huge width": ({"hidden_size": 10**12}, "a number that no image classifier needs"),
    "a wide one": ({"hidden_size": 1 << 19, "intermediate_size": 1 << 19, "num_attention_heads": 1}, "MiB"),
    "a deep one": ({"num_hidden_layers": 1 << 20}, "more layers than there are tensors"),
    "one layer more": ({"num_hidden_layers": 2}, "missing"),
    "another size": ({"hidden_size": 24}, "not those of its config.json|cannot|no network can be built"),
    "no numbers": ({"hidden_size": "wide"}, "no network can be built"),
    "a tag of timm": ({"model_type": 3, "architecture": "hf-hub:some/network"}, "timm does not know"),
    "arguments": ({"model_type": 3, "architecture": "test_vit", "model_args": {"checkpoint_path": "x"}}, "checkpoint"),
}


def test_hostile_configurations_are_one_line_fetch_nothing_and_run_nothing(tmp_path, monkeypatch):
    from torch_files import vit

    vit(tmp_path / "good")
    (tmp_path / "good" / "planted.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'w')")

    def fetched(*_):
        raise AssertionError("something was to be fetched")

    monkeypatch.setattr(socket, "getaddrinfo", fetched)
    monkeypatch.setattr(socket.socket, "connect", fetched)
    for name, (changes, why) in HOSTILE.items():
        folder = shutil.copytree(tmp_path / "good", tmp_path / name)
        altered(folder, **changes)
        with pytest.raises(InvalidFile, match=why) as told:
            recognise(folder / "model.safetensors", Wanted())
        assert "\n" not in str(told.value), name
    with pytest.raises(InvalidFile, match=r"it is not cnn|there is no head/bias"):  # what the user names is tried, too
        recognise(tmp_path / "no classifier" / "model.safetensors", Wanted(("cnn",), (IMAGE,)))
    altered(tmp_path / "good", auto_map={"AutoModelForImageClassification": "planted.Net"})
    (stored,) = recognise(tmp_path / "good" / "model.safetensors", Wanted())  # the library's own class is there
    assert stored.network.note == AskedGround.WEIGHTS_ALONE  # but who trusts the code runs that
    assert not (tmp_path / "RAN").exists()


def test_without_the_check_a_missing_tensor_would_be_filled_at_random(tmp_path, monkeypatch):
    from safetensors.numpy import load_file, save_file
    from torch_files import vit

    vit(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    lost = next(name for name in tensors if "query" in name)
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, tmp_path / "model.safetensors")
    with pytest.raises(InvalidFile, match="missing"):
        recognise(tmp_path / "model.safetensors", Wanted())
    monkeypatch.setattr(torch_build, "_check_report", lambda report, module: None)
    (stored,) = recognise(tmp_path / "model.safetensors", Wanted())
    assert read_weights(stored)  # and nobody would know


@pytest.mark.parametrize("bad", [{"layer_norm_eps": 10.0}, {"qkv_bias": False}, {"image_size": 4096}])
def test_a_configuration_that_spoils_a_network_clears_nobody(tmp_path, bad):
    from torch_files import vit

    vit(tmp_path)
    altered(tmp_path, **bad)
    with pytest.raises(InvalidFile, match=r"no network learns|leaves a tensor aside|far more than the file"):
        recognise(tmp_path / "model.safetensors", Wanted())


def test_without_its_rule_a_tensor_that_is_left_aside_is_not_missed(tmp_path, monkeypatch):
    from torch_files import vit

    vit(tmp_path)
    altered(tmp_path, qkv_bias=False)
    monkeypatch.setattr(torch_build, "_check_report", lambda report, module: None)
    (stored,) = recognise(tmp_path / "model.safetensors", Wanted())
    assert not any(name.endswith("q_proj/bias") or name.endswith("query/bias") for name in read_weights(stored))


def test_what_lacks_is_said(tmp_path, monkeypatch):
    from torch_files import vit

    vit(tmp_path)
    for name in ("torch", "torchax"):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, name, None)
            with pytest.raises(UsageError, match=r"pip install 'wmjax\[torch\]'"):
                recognise(tmp_path / "model.safetensors", Wanted(images=((16, 16, 1),)))


UNKNOWN = [
    {"size": {"height": 9999}},
    {"image_processor_type": "AutoModel"},
    {"image_std": "wide"},
    {"image_processor_type": "LlavaNextImageProcessor", "image_grid_pinpoints": [[20000, 20000]]},
    {"image_processor_type": "MllamaImageProcessor", "max_image_tiles": 1000},
    {"image_grid_pinpoints": [[20000, 20000]]},
]


@pytest.mark.parametrize("settings", [{"do_normalize": False}, {"do_rescale": False}, *UNKNOWN])
def test_processors_are_asked_rather_than_read(tmp_path, settings):
    from torch_files import by_processor, vit

    network = vit(tmp_path)
    values = json.loads((tmp_path / "preprocessor_config.json").read_text())
    values |= {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, **settings}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    (stored,) = recognise(tmp_path / "model.safetensors", Wanted())
    if settings in UNKNOWN:  # asked in all usual ways
        assert stored.network.readings == tuple(PIXELS)
    else:
        agree(scores(stored), by_processor(network, tmp_path, PICTURES))
