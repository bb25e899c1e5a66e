"""An audit on a Ray cluster, with real workers: killed, lost or poisoned ones, and the same result as one machine."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from refusals import one_line
from test_audit_cli import home

import wmjax
from wmjax.errors import InvalidFile

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'wmjax[ray]'")
ray_worker = pytest.importorskip("ray_worker")
from audit_worker import assert_same  # noqa: E402

from wmjax.cli.zoo import ask_part  # noqa: E402
from wmjax.zoo.on_ray import remote, run_parts  # noqa: E402
from wmjax.zoo.result import MATCH  # noqa: E402

__all__ = ["home"]
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture
def values(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options of an audit whose portions are small, as the command line hands them to its workers."""
    from wmjax.cli.options import make_parser

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")  # JAX has begun already
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    command = ["audit", home / "zoo", "--keys", home / "keys", "--out", tmp_path / "out", "--memory", "160KB"]
    options = make_parser().parse_args([str(word) for word in command])
    return {name: value for name, value in vars(options).items() if name not in ("verb", "parser", "shard", "resume")}


def one_machine(home: Path) -> Any:
    result = wmjax.audit(home / "zoo", home / "keys", memory=160_000)
    assert (len(result.models), int((result.outcomes == MATCH).sum())) == (4, 1)
    return result


def test_a_killed_worker_and_a_stale_disk_change_nothing(values: dict[str, Any], home: Path, tmp_path: Path) -> None:
    assert run_parts(remote(ray_worker.ask, values, str(tmp_path)), "local", {"CPU": 1}, 2) == 2
    assert {path.name for path in tmp_path.glob("tried-*")} == {"tried-1", "tried-2"}
    assert (tmp_path / "killed").exists()
    assert_same(wmjax.merge(tmp_path / "out", home / "keys"), one_machine(home))


def test_a_lost_node_changes_nothing(values: dict[str, Any], home: Path, tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    where = tmp_path / "node"

    def lose() -> None:
        while not (where.exists() and where.read_text()):
            time.sleep(0.1)
        (lost,) = [node for node in nodes if node.node_id == where.read_text()]
        cluster.remove_node(lost, allow_graceful=False)

    loser = threading.Thread(target=lose)
    loser.start()
    try:
        run_parts(remote(ray_worker.wait_for_the_node_to_die, values, str(tmp_path)), cluster.address, {"CPU": 1}, 3)
    finally:
        loser.join()
        cluster.shutdown()
    assert_same(wmjax.merge(tmp_path / "out", home / "keys"), one_machine(home))


def test_a_poisoned_part_is_told_and_the_rest_is_done(values: dict[str, Any], home: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match=r"part 2/4 failed, 3 are done; `resume`.*not the file that it was") as error:
        run_parts(remote(ray_worker.poisoned, values, str(tmp_path)), "local", {"CPU": 1}, 4)
    assert "\n" not in str(error.value)
    assert len(list((tmp_path / "out").iterdir())) == 3
    run_parts(remote(ask_part, values, str(tmp_path)), "local", {"CPU": 1}, 4)
    assert_same(wmjax.merge(tmp_path / "out", home / "keys"), one_machine(home))


def test_on_the_command_line(values: dict[str, Any], home: Path, run: Any) -> None:
    command = ["audit", home / "zoo", "--keys", home / "keys", "--memory", "160KB", "--ray"]
    code, out, _ = run(*command, "local", "--out", "there", "--parts", "3", "--json")
    alone = run(*command[:-1], "--out", "alone", "--json")
    assert alone[0] == code == 0, (out[:400], alone[1][:400])
    told, expected = json.loads(out), json.loads(alone[1])
    assert (code, told["matches"], told["inconclusive"]) == (alone[0], expected["matches"], expected["inconclusive"])
    assert len(list(Path("there").glob("journal-*-of-3.jsonl"))) == 3
    code, _, err = run(*command, "local", "--out", "there")
    assert (code, "--resume" in one_line(err)) == (2, True)
    code, _, err = run(*command, "local", "--out", "other", "--each", "GPU=64")
    assert (code, "GPU=64" in one_line(err)) == (2, True)
    code, _, err = run(*command, "127.0.0.1:1", "--out", "other")
    assert (code, "no cluster answers" in one_line(err)) == (5, True)
