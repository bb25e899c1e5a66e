"""Which part of an audit a job is, as batch systems tell it; and the manifests in `examples/` that start such jobs."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from refusals import assert_refused, one_line

from wmjax.errors import UsageError
from wmjax.zoo.scheduler import shard_of

EXAMPLES = Path(__file__).parent.parent / "examples"


def slurm(task: object, count: object, least: object = 0, most: object = None, step: object = 1) -> dict[str, str]:
    told = {"ID": task, "COUNT": count, "MIN": least, "MAX": most, "STEP": step}
    if most is None:
        told["MAX"] = int(str(count)) - 1
    return {f"SLURM_ARRAY_TASK_{end}": str(value) for end, value in told.items()}


KUBERNETES = {"JOB_COMPLETION_INDEX": "3", "WMJAX_SHARDS": "8"}
CLOUD_RUN = {"CLOUD_RUN_TASK_INDEX": "7", "CLOUD_RUN_TASK_COUNT": "8"}


@pytest.mark.parametrize(
    ("told", "shard"),
    [
        (slurm(0, 4), (1, 4)),
        (slurm(3, 4), (4, 4)),
        (slurm(8, 4, 2, 8, 2), (4, 4)),
        (KUBERNETES, (4, 8)),
        (CLOUD_RUN, (8, 8)),
        ({"BATCH_TASK_INDEX": "0", "BATCH_TASK_COUNT": "1"}, (1, 1)),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "5", "AWS_BATCH_JOB_ARRAY_SIZE": "9"}, (6, 9)),
        ({**slurm(0, 4), "WMJAX_SHARDS": "4"}, (1, 4)),
    ],
)
def test_each_system_says_which_part(told: dict[str, str], shard: tuple[int, int]) -> None:
    assert shard_of({"HOME": "/root", **told}) == shard


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, "not a job of an array"),
        ({"WMJAX_SHARDS": "4"}, "not a job of an array"),
        ({"JOB_COMPLETION_INDEX": "0"}, "WMJAX_SHARDS is not set"),
        ({"BATCH_TASK_INDEX": "0"}, "BATCH_TASK_COUNT is not set"),
        ({"BATCH_TASK_COUNT": "2"}, "not a job of an array"),
        ({**KUBERNETES, **CLOUD_RUN}, "contradict each other"),
        ({**KUBERNETES, "WMJAX_SHARDS": "3"}, "part 3, from 0, of 3"),
        ({**KUBERNETES, "WMJAX_SHARDS": "0"}, "part 3, from 0, of 0"),
        ({**KUBERNETES, "JOB_COMPLETION_INDEX": "-1"}, "'-1', not a number"),
        ({**KUBERNETES, "JOB_COMPLETION_INDEX": "\x1b[2J"}, "not a number"),
        ({**KUBERNETES, "WMJAX_SHARDS": "9" * 4000}, "not a number"),
        ({**CLOUD_RUN, "WMJAX_SHARDS": "9"}, "WMJAX_SHARDS says 9 parts and Cloud Run 8"),
        (slurm(4, 3, 1, 7, 3) | {"SLURM_ARRAY_TASK_COUNT": "4"}, "number them from 0, without gaps"),
        (slurm(3, 3, 1, 7, 3), "number them from 0, without gaps"),  # a task between two steps
        (slurm(3, 1, 3, 3) | {"WMJAX_SHARDS": "8"}, "WMJAX_SHARDS says 8"),  # one of eight was submitted again alone
        (slurm(0, 0), "'-1', not a number"),
        (slurm(0, 2, 0, 1, 0), "number them from 0, without gaps"),
    ],
)
def test_what_cannot_be_is_one_line(told: dict[str, str], words: str) -> None:
    assert_refused(lambda: shard_of(told), words, UsageError)


def test_on_the_command_line(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")  # else this process would have as many as cores from now on
    for name in (*KUBERNETES, *CLOUD_RUN, *slurm(0, 1)):
        monkeypatch.delenv(name, raising=False)
    code, _, err = run("audit", "zoo", "--keys", "keys", "--shard", "auto")
    assert (code, "not a job of an array" in one_line(err)) == (2, True)
    for name, value in KUBERNETES.items():
        monkeypatch.setenv(name, value)
    Path("zoo").mkdir()
    code, _, err = run("audit", "zoo", "--keys", "keys", "--shard", "auto")
    assert (code, "keys" in one_line(err)) == (5, True)


def test_ray_that_is_not_there_and_what_contradicts_it(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = run("audit", "zoo", "--keys", "keys", "--ray", "auto", "--shard", "1/2")
    assert (code, "leave out --shard" in one_line(err)) == (2, True)
    code, _, err = run("audit", "zoo", "--keys", "keys", "--ray", "auto", "--each", "GPU")
    assert code == 2
    assert "CPU=2,GPU=1" in err
    from wmjax.zoo.on_ray import run_parts

    monkeypatch.setitem(sys.modules, "ray", None)
    assert_refused(lambda: run_parts(lambda part, parts: None, "auto", {"CPU": 1}), "pip install", UsageError)


def manifest(name: str) -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return list(yaml.safe_load_all((EXAMPLES / name).read_text()))


def arguments(command: list[str]) -> Any:
    """What the command line understands of a manifest's command."""
    from wmjax.cli.options import make_parser

    return make_parser().parse_args(command[command.index("wmjax") + 1 :])


def test_kubernetes_indexed_job(monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = manifest("kubernetes-job.yaml")
    spec = job["spec"]
    assert (job["apiVersion"], job["kind"], spec["completionMode"]) == ("batch/v1", "Job", "Indexed")
    (container,) = spec["template"]["spec"]["containers"]
    told = {one["name"]: one["value"] for one in container["env"]}
    assert told["WMJAX_SHARDS"] == str(spec["completions"])
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    monkeypatch.setenv("WMJAX_SHARDS", told["WMJAX_SHARDS"])
    options = arguments(container["command"])
    assert (options.shard, options.resume, options.memory > 0) == ((1, spec["completions"]), True, True)
    assert all(str(path).startswith("/shared/") for path in (options.zoo, options.out))


def test_kuberay() -> None:
    (job,) = manifest("kuberay-job.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    options = arguments(job["spec"]["entrypoint"].split())
    assert (options.ray, options.resume, options.memory > 0) == ("auto", True, True)
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    assert options.each["CPU"] <= int(container["resources"]["limits"]["cpu"])
    assert options.each["GPU"] <= int(container["resources"]["limits"]["nvidia.com/gpu"])


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not here")
def test_slurm_array(monkeypatch: pytest.MonkeyPatch) -> None:
    path = EXAMPLES / "slurm-array.sh"
    subprocess.run(["bash", "-n", path], check=True)
    lines = path.read_text().splitlines()
    (array,) = [line for line in lines if line.startswith("#SBATCH --array=0-")]
    last = int(array.partition("-")[2].partition("-")[2].partition("-")[2].partition("%")[0])
    for name, value in slurm(last, last + 1).items():
        monkeypatch.setenv(name, value)
    (command,) = [line for line in lines if line.startswith("srun wmjax")]
    options = arguments(command.split())
    assert (options.shard, options.resume) == ((last + 1, last + 1), True)
