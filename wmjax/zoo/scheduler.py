"""Which part of an audit this job of an array is, as batch systems tell it in the environment."""

from collections.abc import Mapping

from wmjax.errors import UsageError

DECLARED = "WMJAX_SHARDS"  # how many jobs there are, by whoever starts them: Kubernetes tells none
_SYSTEMS = {  # the variables of index and count; indices begin with 0
    "Kubernetes": ("JOB_COMPLETION_INDEX", DECLARED),
    "Cloud Batch": ("BATCH_TASK_INDEX", "BATCH_TASK_COUNT"),
    "Cloud Run": ("CLOUD_RUN_TASK_INDEX", "CLOUD_RUN_TASK_COUNT"),
    "AWS Batch": ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
}
_SLURM = "SLURM_ARRAY_TASK_ID"


def shard_of(environment: Mapping[str, str]) -> tuple[int, int]:
    """The part, from 1, and how many there are.

    >>> shard_of({"BATCH_TASK_INDEX": "0", "BATCH_TASK_COUNT": "8"})
    (1, 8)
    >>> shard_of({"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "7",
    ...           "SLURM_ARRAY_TASK_STEP": "2", "SLURM_ARRAY_TASK_COUNT": "4"})
    (3, 4)

    Args:
      environment: of this process.

    Raises:
      UsageError: no system tells it, several do, or what one tells cannot be.
    """
    found = {name: index for name, (index, _) in _SYSTEMS.items() if index in environment}
    if _SLURM in environment:
        found["Slurm"] = _SLURM
    if not found:
        known = ", ".join(["Slurm", *_SYSTEMS])
        raise UsageError(f"this is not a job of an array of {known}: say which part, e.g. 1/4")
    if len(found) > 1:
        raise UsageError(f"{' and '.join(found.values())} contradict each other: say which part, e.g. 1/4")
    (name,) = found
    index, count = _slurm(environment) if name == "Slurm" else _told(environment, *_SYSTEMS[name])
    if not 0 <= index < count:
        raise UsageError(f"{found[name]} says part {index}, from 0, of {count}")
    declared = _number(environment, DECLARED) if DECLARED in environment else count
    if declared != count:
        raise UsageError(f"{DECLARED} says {declared} parts and {name} {count}: say which, e.g. 1/4")
    return index + 1, count


def _told(environment: Mapping[str, str], index: str, count: str) -> tuple[int, int]:
    return _number(environment, index), _number(environment, count)


def _slurm(environment: Mapping[str, str]) -> tuple[int, int]:
    """Slurm numbers as its user likes: from any number, in any steps. A list of numbers is no such array."""
    task, count, least, most, step = (
        _number(environment, f"SLURM_ARRAY_TASK_{end}") for end in ("ID", "COUNT", "MIN", "MAX", "STEP")
    )
    if step < 1 or least + (count - 1) * step != most or (task - least) % step:
        raise UsageError(
            f"tasks {least} to {most} by {step} are not the {count} that Slurm tells: number them from 0, without gaps"
        )
    return (task - least) // step, count


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name)
    if text is None:
        raise UsageError(f"{name} is not set: set it, or say which part, e.g. 1/4")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(f"{name} is {text!r:.40}, not a number")
    return int(text)
