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
from wmjax import stores
from wmjax.errors import AccessError, InvalidFile

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


def test_a_zoo_its_keys_and_journals_in_a_bucket(
    values: dict[str, Any], home: Path, run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What stands for objects on one machine is nothing on another: workers are told names."""
    from buckets import Bucket, forgotten, served

    pytest.importorskip("moto", reason="moto is not installed: pip install '.[test]'")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    expected = one_machine(home)
    with served("s3"), forgotten():
        bucket = Bucket("s3", "zoos")
        bucket.put_folder(home / "zoo", "zoo")
        command = ["audit", f"{bucket.url}/zoo", "--keys", home / "keys", "--out", f"{bucket.url}/audit"]
        command += ["--memory", "160KB", "--parts", "3", "--ray", "local", "--json"]
        code, out, err = run(*command)
        assert (code, err) == (0, "")
        assert_same(wmjax.merge(f"{bucket.url}/audit", home / "keys"), expected)
        journals = [name for name in bucket.names() if "journal" in name]
        assert (len(journals), {"audit/report.html", "audit/audit.json"} <= set(bucket.names())) == (3, True)
        assert str(stores._process.mirror and stores._process.mirror.root) not in out
        bucket.remove(journals[1])
    with served("s3"), forgotten():  # another server: there is no such bucket
        code, _, err = run(*command)
        assert (code, "there is no such bucket" in one_line(err)) == (5, True)


def test_questions_are_counted_whatever_becomes_of_a_worker(
    values: dict[str, Any], home: Path, run: Any, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    Path("asked_here.py").write_text(
        "import numpy as np\n"
        "def one(images):\n"
        f"    with open({str(said)!r}, 'a') as told:\n"
        "        told.write(str(len(images)) + '\\n')\n"
        "    return np.full((len(images), 10), 0.1, np.float32)\n"
    )
    Path("suspects.toml").write_text(
        '[[suspect]]\nname = "one"\ncall = "asked_here:one"\nclasses = 10\nimage = [8, 8, 1]\n'
    )
    command = ["audit", home / "zoo", "--keys", home / "keys", "--memory", "160KB", "--ray", "local", "--out", "few"]
    code, _, err = run(*command, "--suspects", "suspects.toml", "--max-queries", "7", "--parts", "2")
    assert code == 0, err
    assert sum(map(int, said.read_text().split())) == 7
    with pytest.raises(AccessError, match=r"part 1/2 failed, 0 are done.*Stale file handle"):  # nothing is done again
        run_parts(remote(ray_worker.ask, values, str(tmp_path)), "local", {"CPU": 1}, 2, 0)


def test_a_worker_walks_through_a_zoo_once(values: dict[str, Any], home: Path, tmp_path: Path) -> None:
    run_parts(remote(ray_worker.count, values, str(tmp_path)), "local", {"CPU": 1}, 4)
    workers, walks = (len((tmp_path / name).read_text().split()) for name in ("parts", "walks"))
    assert (workers, walks) == (4, len(set((tmp_path / "parts").read_text().split())))
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
