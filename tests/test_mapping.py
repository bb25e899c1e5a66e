"""The same numbers on one device, on eight, under pmap, and in two processes of four devices each."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mapping_worker
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from wmjax.train import Batch, divisible, key_batch, mix
from wmjax.train.mapping import AXIS, all_devices, over

BOTH = [[kind, net] for kind in ("jit", "pmap") for net in mapping_worker.NETS]


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def run_workers(out: Path, asked: list[list[str]], processes: int, devices: int) -> dict[str, np.ndarray]:
    command = [sys.executable, mapping_worker.__file__, str(out), json.dumps(asked), f"127.0.0.1:{free_port()}"]
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}
    workers = [
        subprocess.Popen([*command, str(processes), str(i)], env=environment, stdout=subprocess.DEVNULL)
        for i in range(processes)
    ]
    assert [worker.wait(600) for worker in workers] == [0] * processes
    return dict(np.load(out))


@pytest.fixture(scope="module")
def one_device() -> dict[str, dict[str, np.ndarray]]:
    return {net: mapping_worker.steps("jit", net) for net in mapping_worker.NETS}


@pytest.mark.parametrize(
    ("processes", "devices", "asked"),
    [(1, 8, BOTH), (2, 4, [["jit", "dropout"], ["pmap", "batch norm"], ["jit", "shift"]])],
    ids=["8 devices", "2 processes x 4"],
)
def test_losses_weights_and_statistics_are_those_of_one_device(tmp_path, one_device, processes, devices, asked):
    """A gradient summed where it should be averaged would be 8 times too large here: weights would differ at once."""
    found = run_workers(tmp_path / "out.npz", asked, processes, devices)
    for kind, net in asked:
        for name, expected in one_device[net].items():
            got = found[f"{kind}/{net}/{name}"]
            np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-6, err_msg=f"{kind} {net} {name}")


def test_pmap_on_one_device_and_streamed_batches_give_the_same(one_device):
    net = "batch norm"
    for other in (mapping_worker.steps("pmap", net), mapping_worker.steps("jit", net, streamed=True)):
        for name, expected in one_device[net].items():
            np.testing.assert_allclose(other[name], expected, rtol=1e-4, atol=1e-6, err_msg=name)


# Two traps of many devices in one process, since starting it costs more: gradients, and a user's own sharded step.
SCRIPT = """
import jax, jax.numpy as jnp, numpy as np
from typing import Any, NamedTuple
from jax.sharding import NamedSharding, PartitionSpec
from wmjax import Batch, key_batch, mix
from wmjax.train import all_devices

class Given(NamedTuple):
    x: Any
m = all_devices("pmap")
run = m.compile(lambda w, given: m.mean(jax.grad(lambda w: (w * given.x).mean())(w)), Given, divided="x")
print(float(run(m.replicate(np.float32(1)), Given(m.divide(np.arange(16.0, dtype=np.float32).reshape(1, 16))))))

mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
whole, rows = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
step = jax.jit(lambda b, k, n: mix(b, key_batch(k, n, 5)), in_shardings=(rows, whole, whole), out_shardings=rows)
batch = Batch(jnp.zeros((16, 4, 4, 1)), jnp.zeros(16, jnp.int32))
triggers = Batch(jnp.ones((7, 4, 4, 1)), jnp.arange(7))
text = step.lower(batch, triggers, 3).compile().as_text()
moves = [word for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute") if word in text]
print(moves, step(batch, triggers, 3).targets.tolist()[:6])
"""


@pytest.fixture(scope="module")
def on_eight_devices() -> list[str]:
    """The lines that the script prints there."""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "8"}
    command = [sys.executable, "-c", SCRIPT]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()


def test_gradients_of_a_device_are_its_own_until_the_body_averages_them(on_eight_devices):
    """The trap: where gradients of replicated weights arrive summed, a mean after it changes nothing."""
    assert on_eight_devices[0] == "7.5"  # 60 where it was summed


class Given(NamedTuple):
    """Inputs of a body: a factor, a part of which each device sees, and what it is added to."""

    addend: Any
    factor: Any
    nothing: Any = None


def scaled(state: jax.Array, given: Given, *, twice: int = 1) -> jax.Array:
    return twice * state * given.factor.sum() + given.addend


def decorated(body: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments, **options: body(*arguments, **options)


@pytest.mark.parametrize("kind", ["jit", "pmap"])
@pytest.mark.parametrize(
    "body", [scaled, partial(scaled, twice=1), decorated(scaled)], ids=["plain", "partial", "deco"]
)
def test_a_body_may_be_any_callable(kind, body):
    """What is divided goes by the name of a field, not by the position of an argument."""
    mapping = all_devices(kind)
    run = mapping.compile(body, Given, divided="factor")
    state, addend = mapping.replicate((np.float32(2), np.float32(1)))
    factor = mapping.divide(np.ones((1, 4), np.float32))
    assert float(run(state, Given(addend, factor))) == 9
    models = over(jax.local_devices()[:1]).compile_models(body, Given, shared={"addend"})
    dealt = Given(np.float32(1), np.ones((3, 4), np.float32))
    assert models(np.arange(3, dtype=np.float32), dealt).tolist() == [1, 5, 9]


def test_a_field_that_does_not_exist_is_an_error():
    """By Python itself: TypeError from 3.13 on."""
    with pytest.raises((TypeError, ValueError), match="factors"):
        all_devices().compile(scaled, Given, divided="factors")
    with pytest.raises((TypeError, ValueError), match="addends"):
        all_devices().compile_models(scaled, Given, shared={"addends"})


def test_mixing_moves_nothing_between_devices(on_eight_devices):
    """A batch that is sharded in a user's own step stays where it is."""
    assert on_eight_devices[1] == "[] [1, 2, 3, 4, 5, 0]"


def test_mixing_by_place_equals_mixing_the_whole():
    rng = np.random.default_rng(0)
    batch = Batch(jnp.asarray(rng.random((8, 2, 2, 1), np.float32)), jnp.arange(8))
    turn = key_batch(Batch(jnp.ones((5, 2, 2, 1)), jnp.arange(100, 105)), 0, 3)
    whole = mix(batch, turn)
    assert whole.targets.tolist() == [100, 101, 102, 3, 4, 5, 6, 7]
    halves = [mix(Batch(*(a[rows] for a in batch)), turn, rows) for rows in (jnp.arange(4), jnp.arange(4, 8))]
    np.testing.assert_array_equal(np.concatenate([half.images for half in halves]), whole.images)
    np.testing.assert_array_equal(np.concatenate([half.targets for half in halves]), whole.targets)
    with pytest.raises(ValueError, match="3 triggers do not fit"):
        mix(Batch(batch.images[:2], batch.targets[:2]), turn)


def test_shares_cover_a_batch():
    mapping = all_devices()
    assert mapping.share(16) == slice(0, 16)
    assert mapping.replicate(np.arange(3)).sharding == NamedSharding(mapping.mesh, PartitionSpec())
    assert mapping.divide(np.zeros((2, 4))).sharding.spec == PartitionSpec(None, AXIS)
    assert [divisible(batch, 8) for batch in (128, 100, 5)] == [128, 96, 5]
    assert jax.device_count() == 1
