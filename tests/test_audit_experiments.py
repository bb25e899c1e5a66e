"""The audit's experiments from end to end at tiny size; what they time in processes of their own is done here."""

import contextlib
import importlib
import json
import xml.etree.ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments import record
from experiments.audits import audit_growth, audit_speed, batched_scoring, lenet_ratio, read_share, zoos
from experiments.evidence import false_alarms
from wmjax.models import Config, Variables, init
from wmjax.suspects.modules import from_module
from wmjax.suspects.network import from_config

TINY = zoos.TINY


def torch_stand_in(path: str) -> Callable[[], dict[str, Any]]:
    """What `torch_lenet.py` says, computed without PyTorch."""
    network = from_module("experiments.audits.zoos:lenet", (28, 28, 1))
    with np.load(path) as stored:
        arrays = dict(stored)
    rows = [{name: arrays[name][row] for name in network.shapes} for row in range(len(arrays["head/bias"]))]
    answer = jax.jit(network.logits)
    logits = [np.asarray(answer(weights, arrays["images"])).tolist() for weights in rows]
    return lambda: {"seconds": 1.0, "torch": "none", "threads": 1, "tried_s": {"1": 1.0}, "logits": logits}


@contextlib.contextmanager
def in_this_process(script: str, *arguments: object, **options: object) -> Iterator[Callable[[], Any]]:
    """In the place of `zoos.process`."""
    name = Path(script).stem
    worker = torch_stand_in if name == "torch_lenet" else importlib.import_module(f"experiments.audits.{name}").worker
    work = worker(*map(str, arguments))
    yield lambda: json.loads(json.dumps(work()))


def quickly_marked(config: Config, recipe: Any, data: Any, keys: Any, title: str) -> Variables:
    """In the place of `fit`, which takes longer to compile than all the rest."""
    return zoos.unflatten(config, lenet_ratio.memorised(from_config(config), *keys, 60))


@pytest.fixture
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Runs a script at its small size and gives what it wrote; its rows for the tables can be made of that."""
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(zoos, "process", in_this_process)
    for module in (audit_speed, false_alarms):
        monkeypatch.setattr(module, "fit", quickly_marked)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(module: Any, *arguments: str) -> dict[str, Any]:
        module.main(["--small", *arguments])
        name = module.__name__.removeprefix("experiments.")
        written = json.loads((tmp_path / "results" / f"{name.partition('.')[2]}.json").read_text())
        rows = module.rows(written)
        assert rows
        assert all(f"`experiments/{name.replace('.', '/')}.py`" in row for row in rows)
        return written

    return run


def test_names_of_weights_are_those_of_the_zoo():
    network, variables = from_config(TINY), init(TINY, 0)
    weights = zoos.flatten(variables)
    assert {name: leaf.shape for name, leaf in weights.items()} == {n: s.shape for n, s in network.shapes.items()}
    back = zoos.flatten(zoos.unflatten(TINY, zoos.draw(network, 3)))
    np.testing.assert_equal(back, zoos.draw(network, 3))
    assert np.abs(zoos.draw(network, 3)["params/head/kernel"] - zoos.draw(network, 4)["params/head/kernel"]).max() > 0.1


def test_a_process_of_its_own_works_again_and_again(tmp_path):
    script = tmp_path / "counting.py"
    script.write_text(
        "import json, os, sys\n"
        "print('\"ready\"', flush=True)\n"
        "for number, _ in enumerate(sys.stdin):\n"
        "    print(json.dumps([number, sys.argv[1:], os.environ.get('JAX_NUM_CPU_DEVICES')]), flush=True)\n"
        "    if number: break\n"
    )
    with zoos.process(str(script), "a", 1) as turn:
        assert [turn(), turn()] == [[0, ["--worker", "a", "1"], None], [1, ["--worker", "a", "1"], None]]
        with pytest.raises(RuntimeError, match=r"counting\.py --worker a 1 ended"):
            turn()
    with zoos.process(str(script), all_cores=True) as turn:
        assert int(turn()[2]) >= 1


def test_who_begins_a_round_changes():
    order: list[str] = []
    turns = {name: lambda name=name: order.append(name) or {"at": len(order)} for name in "abc"}
    first, rounds = zoos.in_turn(turns, 3)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"
    assert first["c"] == {"at": 3}
    np.testing.assert_array_equal(zoos.column(rounds["a"], "at"), [4, 9, 11])


def test_every_way_of_auditing_finds_the_thief(figures, monkeypatch):
    monkeypatch.setattr(audit_speed, "command_seconds", lambda *arguments: [1.0, 1.0])
    case = figures(audit_speed)["families"]["small"]
    assert case["thieves"] == 1
    assert case["found"] == {"packed": 1, "loose": 1, "loop": 1}
    assert set(case["ratio_to_loop"]) == {"packed", "loose"}
    assert {"discover", "score", "statistics"} <= set(case["stages_s"]["packed"])
    assert case["stages_s"]["packed"]["score"]["median"] > 0


def test_reading_is_told_apart_from_scoring(figures):
    found = figures(read_share)
    assert found["models"] == 3
    assert found["bytes"] > 3 * 4_400_000
    assert {"warm", "cold"} <= set(found)
    assert found["warm"]["share_of_raw"]["audit"]["median"] > 0


def test_the_walk_is_timed_against_single_calls(figures):
    found = figures(batched_scoring)
    case = found["cases"]["tiny"]
    assert case["best_single"].startswith("single ")
    assert {"walk 16", "naive 16"} == set(case["ratio_to_best_single"])
    convolutions = 22**2 * (1 * 8 + 8 * 8)  # 3x3 windows on 8x8 pixels: so many lie within the image
    products = convolutions + 128 * 32 + 32 * 10
    assert 1e6 * case["mflop_an_image"] == pytest.approx(2 * products, rel=0.1)


def test_plain_convolutions_answer_alike():
    network = from_config(TINY)
    weights, images = zoos.draw(network, 0), batched_scoring.pictures(network, 4)
    with batched_scoring.plain_convolutions():
        plain = np.asarray(network.logits(weights, images))
    np.testing.assert_allclose(plain, network.logits(weights, images), atol=1e-4)


def test_verdicts_on_lenets(figures, monkeypatch):
    monkeypatch.setattr(lenet_ratio, "memorised", lambda network, key, steps: zoos.draw(network, 99))  # untrained
    found = figures(lenet_ratio, "--torch-python", "none")
    assert found["innocents"]["matched"] == found["half thieves"]["matched"] == 0
    assert found["half thieves"]["thieves"] == 2
    assert found["half thieves"]["largest_difference_of_logits"] < 1e-4


def test_lenets_that_differ_are_not_timed():
    same = [[[1.0, 2.0]]]
    assert lenet_ratio.difference(same, [[[1.0, 2.00005]]]) == pytest.approx(5e-5)
    with pytest.raises(SystemExit, match="not the same networks"):
        lenet_ratio.difference(same, [[[1.0, 2.1]]])


def test_growth_is_measured_and_drawn(figures, tmp_path):
    found = figures(audit_growth)
    assert [(cell["models"], cell["keys"]) for cell in found["grid"]] == [(3, 1), (4, 1)]
    assert found["large"][0]["peak_mib"] > 0
    drawing = xml.etree.ElementTree.parse(tmp_path / "results" / "audit_growth.svg").getroot()
    assert drawing.tag.endswith("svg")


def test_false_alarms_are_counted(figures, tmp_path):
    zoos.write_pack(tmp_path / "zoo", from_config(TINY), 3)
    found = figures(false_alarms, "--zoo", str(tmp_path / "zoo"))["digits"]
    assert found["abstract"]["pairs"] == found["blend"]["pairs"] == 27
    assert found["e_bh"]["0.01"]["thieves_found_mean"] == 1.0


def test_rates_of_alarms():
    highest = np.zeros((50, 4))
    highest[:5, 0], highest[0, 1] = 7.0, 20.0
    found = false_alarms.rates(highest)
    assert [found[alpha]["false_alarms"] for alpha in ("0.01", "0.001", "0.0001")] == [6, 1, 1]
    assert found["0.01"]["largest_rate_of_a_key"] == 0.1
    assert found["0.01"]["keys_with_any"] == 2
    low, high = found["0.01"]["interval_by_key"]
    assert 0 <= low < 0.03 < high <= 0.1
