"""The half of the project that needs no JAX is tested without it: keys, statistics, evidence, asking one suspect."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

# Files of tests that need no JAX, but for a test or two. The first list is run without it here, the second imported.
RUN = ["conflict", "evidence_format", "key_contents", "merkle", "signing", "timestamps", "authorities"]
IMPORTED = [
    "claim_damage",
    "commitment",
    "data",
    "derive",
    "evidence_report",
    "false_claims",
    "judge",
    "prepare",
    "schemes",
    "second_route",
    "stats",
    "timestamp_damage",
    "timestamp_servers",
    "vault",
    "verification",
]

PROGRAM = """
import importlib, sys
for name in ("jax", "jaxlib", "flax", "optax", "orbax"):
    sys.modules[name] = None  # importing it fails
import pytest
count, (folder, *names) = int(sys.argv[1]), sys.argv[2:]
code = pytest.main(["-q", "-x", "-p", "no:cacheprovider", *(f"{folder}/test_{name}.py" for name in names[:count])])
sys.path.insert(0, folder)
for name in names[count:]:
    importlib.import_module(f"test_{name}")
sys.exit(code)
"""


def test_the_half_without_jax_passes_where_jax_cannot_be_imported() -> None:
    command = [sys.executable, "-c", PROGRAM, str(len(RUN)), str(HERE), *RUN, *IMPORTED]
    ended = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " passed" in ended.stdout
