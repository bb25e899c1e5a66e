"""Servers that people run, each in an environment of its own (`WMJAX_SERVERS`): the documentation's command on each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from marked import make_key
from refusals import messages

from experiments.services import serving
from wmjax.keys import Key, write_key

pytest.importorskip("stamina", reason="the packages of the extra `remote` are not installed")


@pytest.fixture(scope="module")
def key() -> Key:
    return make_key(triggers=100)


@pytest.fixture(scope="module")
def weights(key: Key, digits: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a marked network and of an innocent one."""
    folder = tmp_path_factory.mktemp("networks")
    serving.network(folder / "marked.npz", digits.images, digits.labels, (key.images, key.labels))
    serving.network(folder / "innocent.npz", digits.images, digits.labels)
    return folder


@pytest.mark.parametrize("name", serving.SERVERS)
def test_a_marked_network_is_found_and_an_innocent_one_cleared(
    name: str, key: Key, request: pytest.FixtureRequest, run: Callable[..., Any], tmp_path: Path
) -> None:
    if why := serving.missing(name):
        pytest.skip(why)
    folder = request.getfixturevalue("weights")
    write_key(key, tmp_path / "my", recipients=[], passphrase=None)
    (tmp_path / "words.txt").write_text("\n".join(serving.WORDS))
    for kind, verdict in (("marked", "match"), ("innocent", "no-match")):
        with serving.serving(name, folder / f"{kind}.npz") as where:
            for address, *options in serving.SERVERS[name].addresses:
                verb = ["verify", "--key", "my.age", "--identity", "my.identity", address.format(where), *options]
                _, out, err = run(*verb, "--json")
                found = json.loads(out)
                assert found.get("verdict") == verdict, err
                assert verdict == "no-match" or found["queries"] <= 10
                _, _, err = run(*verb[:5], f"{address.format(where)}x", *options)
                assert messages(err) == 1  # a wrong name
