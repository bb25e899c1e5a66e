"""The public face: what `import wmjax` offers to people, editors and type checkers."""

import ast
import importlib
import importlib.metadata
import importlib.resources
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest

import wmjax
from wmjax.cli import main
from wmjax.evidence.claim import Attached
from wmjax.keys import new_signer, sign_commitment
from wmjax.keys.statement import parse_commitment

MYPY = """
[mypy]
strict = true
[mypy-wmjax.*]
follow_imports = silent
[mypy-array_record.*,flax.*,grain.*,jax.*,onnx.*,optax.*,orbax.*,pyarrow.*,pyrage.*,scipy.*,sklearn.*,tensorflow_datasets.*]
follow_imports = skip
ignore_missing_imports = true
"""

SCRIPT = """
import os
import wmjax

def work(folder: os.PathLike[str], key: wmjax.Key, suspect: wmjax.Suspect, claim: wmjax.Claim) -> None:
    reveal_type(wmjax.__version__)  # str
    reveal_type(wmjax.verify(suspect, key))  # Verdict
    reveal_type(wmjax.verify(suspect, key).evidence_bits)  # float | None
    reveal_type(wmjax.audit(folder, {"mine": key}))  # AuditResult
    reveal_type(wmjax.attack(folder, {"mine": key}))  # AttackResult
    reveal_type(wmjax.from_callable(lambda images: images[:, 0, 0, 0]))  # Suspect
    reveal_type(wmjax.judge(claim, wmjax.Court()))  # Judgement
    reveal_type(wmjax.load("digits").train)  # Dataset
    wmjax.verify(suspect)  # error
    wmjax.verified  # error
"""


def test_a_type_checker_sees_the_types_of_every_call(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "mypy.ini").write_text(MYPY)
    mypy = [sys.executable, "-m", "mypy", "script.py", "--cache-dir", str(tmp_path)]
    said = subprocess.run(mypy, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    lines = {int(line.split(":")[1]): line for line in said.splitlines() if line.startswith("script.py:")}
    for number, line in enumerate(SCRIPT.splitlines(), 1):
        _, mark, expected = line.partition("  # ")
        if mark and expected != "error":
            assert lines.pop(number).endswith((f'"{expected}"', f'.{expected}"')), said
        elif mark:
            assert "error" in lines.pop(number), said
    assert not lines, said


def test_every_name_is_there_and_documented_and_completed_by_a_notebook() -> None:
    for name in wmjax.__all__:
        assert getattr(wmjax, name).__doc__, name
    assert set(wmjax.__all__) < set(dir(wmjax))
    assert "__version__" in dir(wmjax)
    with pytest.raises(AttributeError, match="no attribute 'verified'"):
        wmjax.verified  # type: ignore[attr-defined]  # noqa: B018


def test_no_public_function_takes_or_gives_just_anything() -> None:
    for name in wmjax.__all__:
        if inspect.isfunction(function := getattr(wmjax, name)):
            signature = inspect.signature(function)
            annotations = [signature.return_annotation, *(p.annotation for p in signature.parameters.values())]
            assert not any(annotation in (Any, inspect.Parameter.empty) for annotation in annotations), name


def _named(hint: Any) -> Iterator[Any]:
    """All types that a hint is made of, e.g. of `Callable[[State, int], None]`."""
    if isinstance(hint, list):
        parts = hint
    else:
        parts = get_args(hint)
        yield get_origin(hint) or hint
    for part in parts:
        yield from _named(part)


def test_what_a_public_function_takes_has_a_public_name() -> None:
    """So that whoever writes a function around it can say what theirs takes."""
    public = [getattr(wmjax, name) for name in wmjax.__all__]
    for function in filter(inspect.isfunction, public):
        hints = get_type_hints(function)
        hints.pop("return")
        for hint in {one for given in hints.values() for one in _named(given)}:
            own = getattr(hint, "__module__", "").startswith("wmjax.")
            assert not own or hint in public, f"{function.__name__} takes {hint}"


@pytest.mark.parametrize("package", ["attacks", "data", "keys", "models", "stats", "suspects", "train", "verification"])
def test_every_name_of_a_package_exists(package: str) -> None:
    module = importlib.import_module(f"wmjax.{package}")
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_what_an_attack_takes_is_exported_beside_it() -> None:
    attacks = importlib.import_module("wmjax.attacks")
    hints = get_type_hints(attacks.Attack)
    named = {one for field in ("run", "serve", "names") for one in _named(hints[field])}
    assert {one.__name__ for one in named if one.__module__ == "wmjax.attacks.contract"} <= set(attacks.__all__)


def test_names_for_type_checkers_are_the_names_at_run_time() -> None:
    tree = ast.parse(Path(wmjax.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 0]
    typed = {(alias.asname, node.module) for node in imports for alias in node.names if alias.asname}
    assert typed == set(wmjax._HOME.items())
    assert list(wmjax._HOME) == sorted(wmjax._HOME)


def test_the_version_is_that_of_the_installation(capsys: pytest.CaptureFixture[str]) -> None:
    assert wmjax.__version__ == importlib.metadata.version("wmjax")
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"wmjax {wmjax.__version__}\n"


def test_the_package_says_that_it_is_typed() -> None:
    assert (importlib.resources.files("wmjax") / "py.typed").is_file()


def test_looking_at_the_package_imports_no_part_of_it() -> None:
    script = "import sys, wmjax; dir(wmjax); wmjax.__all__; print(*[m for m in sys.modules if m.startswith('wmjax.')])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "\n"


class Anywhere:
    """A path of a class of somebody else's."""

    def __fspath__(self) -> str:
        return "nothing/here"


def _key() -> wmjax.Key:
    return wmjax.generate(wmjax.make_spec("abstract", image=(8, 8, 1), classes=10, triggers=20))


def _embed(path: Any) -> None:
    config = wmjax.default_config("cnn", (8, 8, 1), 10)
    wmjax.embed("run", config, wmjax.default_recipe(config), wmjax.load("digits"), begin_with=path)


def _claim(path: Any) -> None:
    key, signer = _key(), new_signer()
    commitment = Attached(parse_commitment(sign_commitment(key.commitment, signer), "it"), ())
    suspect = wmjax.from_callable(lambda images: np.zeros(len(images), int))
    Path("nothing").write_text("no folder")
    wmjax.claim(suspect, key, signer, [commitment], bytes(32), lambda asked: None, anyway=True, journal=path)


UNLOCK = wmjax.Unlock(passphrase="word")
TAKING_PATHS: dict[str, Callable[[Any], Any]] = {
    "claim": _claim,
    "attach": lambda path: wmjax.attach(path),
    "attack": lambda path: wmjax.attack(path, {"mine": _key()}),
    "audit": lambda path: wmjax.audit(path, {"mine": _key()}),
    "embed": _embed,
    "export": lambda path: wmjax.export(path, path),
    "from_checkpoint": lambda path: wmjax.from_checkpoint(path),
    "load": lambda path: wmjax.load("cifar10", path),
    "merge": lambda path: wmjax.merge([path]),
    "open_key": lambda path: wmjax.open_key(path, UNLOCK),
    "open_keys": lambda path: wmjax.open_keys(path),
    "open_signer": lambda path: wmjax.open_signer(path),
    "open_splits": lambda path: wmjax.open_splits("cifar10", path),
    "open_suspect": lambda path: wmjax.open_suspect(path),
    "pack": lambda path: wmjax.pack(path, path),
    "read_authority": lambda path: wmjax.read_authority(path),
    "read_commitment": lambda path: wmjax.read_commitment(path),
    "read_release": wmjax.read_release,
    "spend": lambda path: wmjax.spend(path, UNLOCK, [0]),
    "spread_key": lambda path: wmjax.spread_key(path, wmjax.load("digits")),
    "write_key": lambda path: wmjax.write_key(_key(), path, recipients=["nobody"], passphrase=None),
}


def test_every_public_function_that_takes_a_path_is_tried() -> None:
    functions = {name: getattr(wmjax, name) for name in wmjax.__all__ if inspect.isfunction(getattr(wmjax, name))}
    assert {name for name, function in functions.items() if "Path" in str(inspect.signature(function))} <= set(
        TAKING_PATHS
    )


@pytest.mark.parametrize("name", TAKING_PATHS)
def test_a_path_may_be_text_or_a_path_of_any_class(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = []
    for path in ("nothing/here", Path("nothing/here"), Anywhere()):
        with pytest.raises(wmjax.WmjaxError) as error:
            TAKING_PATHS[name](path)
        said.append(str(error.value))
    assert said == [said[0]] * 3
