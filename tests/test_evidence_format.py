"""The published JSON Schemas: statements that the program makes fit them, and hardly anything else does."""

import base64
import copy
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import owner
import pytest

from wmjax.canonical import write_canonical
from wmjax.data import Dataset
from wmjax.errors import InvalidFile
from wmjax.evidence import claimant
from wmjax.evidence.claim import Attached, picks
from wmjax.evidence.claim_file import CLAIM, read_claim
from wmjax.keys import (
    POLICIES,
    SCHEMES,
    Key,
    Model,
    Paper,
    generate,
    make_spec,
    new_signer,
    read_commitment,
    sign_commitment,
)
from wmjax.keys.statement import COMMITMENT, parse_commitment
from wmjax.suspects import Suspect

EVIDENCE = Path(__file__).parent.parent / "wmjax" / "evidence"
SCHEMAS = {
    f"urn:wmjax:{path.name.replace('.v1.json', ':v1')}": json.loads(path.read_text())
    for path in sorted((EVIDENCE / "schemas").iterdir())
}
SIGNER, MODEL = new_signer(), Model("a run", "a" * 64, "b" * 64)
MAPS = {"parameters", "detail", "material"}  # whose names are not the schema's


def payload(raw: bytes) -> dict[str, Any]:
    return json.loads(base64.b64decode(json.loads(raw)["payload"]))


def keys() -> dict[str, Key]:
    """One of every kind of spec."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8), np.arange(40, dtype=np.int32) % 4, 4)
    specs = {"abstract": make_spec("abstract", image=(8, 8, 1), classes=4, triggers=30)}
    for scheme in ("blend", "content", "noise", "unrelated"):
        specs[scheme] = make_spec(scheme, image=(8, 8, 1), classes=4, triggers=3, source=("some data-1.0", data))
    paper = Paper(source_class=1, target_class=0, share_percent=50)
    specs["paper"] = make_spec(
        "noise", image=(8, 8, 1), classes=4, triggers=0, labels="fixed", source=("some", data), paper=paper
    )
    return {name: generate(spec, data if spec.source else None) for name, spec in specs.items()}


def made_claim(key: Key, answers: str) -> dict[str, Any]:
    """A claim's statement with every kind of row: answered, refused, failed and spent."""
    asked = 0

    def ask(images: np.ndarray) -> np.ndarray:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise OSError("the line broke")
        if answers == "labels":
            return np.array([-1 if asked == 2 else 0])
        return np.full((1, 4), np.nan) if asked == 2 else np.array([[0.7, 0.1, 0.1, 0.1]])

    spent = dataclasses.replace(key, spent=frozenset(picks(key.commitment, bytes(16), 5)[4:]))
    attached = Attached(parse_commitment(sign_commitment(key.commitment, SIGNER), "it"), ())
    revealed = answers == "labels"
    suspect = Suspect("s", ask, describe=(lambda: MODEL) if revealed else None)
    raw = claimant.claim(
        suspect, spent, SIGNER, [attached], bytes(16), lambda asked: None, whole=True, reveal=revealed, anyway=True
    )
    rows = read_claim(raw, "it").rows
    assert [len(row.attempts) for row in rows[:5]] == [1, 1, 1, 1, 0]
    assert [row.answer is None for row in rows[:5]] == [False, True, True, False, True]
    return payload(json.dumps(json.loads(raw)["claim"]).encode())


@pytest.fixture(scope="module")
def statements() -> dict[str, dict[str, Any]]:
    """By name, all that the program writes."""
    made = keys()
    told = {name: payload(sign_commitment(key.commitment, SIGNER)) for name, key in made.items()}
    for scheme in owner.SPLITS:
        key = owner.key_of(scheme, 30)
        told[scheme] = payload(sign_commitment(key.commitment, SIGNER))
        told[f"claim by {scheme}"] = payload(
            json.dumps(json.loads(owner.claimed(key, owner.knowing(key), SIGNER))["claim"]).encode()
        )
    told["released"] = payload(sign_commitment(made["blend"].commitment, SIGNER, MODEL))
    for answers in ("labels", "probabilities"):
        told[answers] = made_claim(made["abstract"], answers)
    return told


def validator(statement: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(SCHEMAS[statement["predicateType"]])


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """All JSON objects in a value whose names mean something, a few of a long list."""
    if isinstance(value, dict):
        yield value
        for name, part in value.items():
            if name not in MAPS:
                yield from objects(part)
    elif isinstance(value, list):
        for part in value[:5]:
            yield from objects(part)


def test_the_schemas_are_schemas_of_our_statements():
    assert set(SCHEMAS) == {COMMITMENT, CLAIM}
    for kind, schema in SCHEMAS.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["properties"]["predicateType"]["const"] == kind
    assert all(re.search(SCHEMAS[COMMITMENT]["$defs"]["name"]["pattern"], name) for name in (*SCHEMES, *POLICIES))


def test_what_the_program_writes_is_valid(statements):
    for statement in statements.values():
        validator(statement).validate(statement)
    assert len(statements["released"]["subject"]) == len(statements["labels"]["subject"]) == 3
    assert statements["labels"]["predicate"]["secret"]


def test_a_commitment_file_is_valid(tmp_path):
    key = keys()["abstract"]
    (tmp_path / "k.commitment.json").write_bytes(sign_commitment(key.commitment, SIGNER))
    statement = payload(read_commitment(tmp_path / "k.commitment.json").raw)
    validator(statement).validate(statement)


def test_no_field_may_be_missing_and_none_added(statements):
    tried = 0
    for whole in statements.values():
        statement = copy.deepcopy(whole)
        judge = validator(statement)
        for part in objects(statement):
            for name in [name for name in part if name != "material"]:  # which some keys have
                taken = part.pop(name)
                assert not judge.is_valid(statement), f"without {name}"
                part[name] = taken
                tried += 1
            part["more"] = 1
            assert not judge.is_valid(statement), f"with more in {sorted(part)}"
            del part["more"]
        assert statement == whole
    assert tried > 200


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("blend", ("spec", "source", "name"), "../data"),
        ("blend", ("spec", "parameters"), {"sigma": 1.5}),
        ("abstract", ("rule", "alpha"), 0),
        ("abstract", ("root",), "A" * 64),
        ("abstract", ("format",), "wmjax-commitment/2"),
        ("labels", ("nonce",), "00" * 15),
        ("labels", ("secret",), "00" * 31),
        ("labels", ("transcript", 0, "answer"), {"label": 1, "probabilities": [0.5, 0.5]}),
        ("labels", ("transcript", 0, "answer"), 1),
        ("labels", ("transcript", 0, "attempts", 0, "outcome"), "lost"),
        ("labels", ("transcript", 0, "attempts", 0, "detail"), {"status": 200}),
        ("labels", ("verdict", "verdict"), "guilty"),
        ("labels", ("made",), "2026-01-01T00:00:00"),
    ],
)
def test_other_values_are_not_valid(statements, name, path, value):
    statement = copy.deepcopy(statements[name])
    *way, last = path
    part = statement["predicate"]
    for step in way:
        part = part[step]
    part[last] = value
    assert not validator(statement).is_valid(statement)


def test_a_model_has_both_its_subjects(statements):
    for name in ("released", "labels"):
        statement = copy.deepcopy(statements[name])
        del statement["subject"][2]
        assert not validator(statement).is_valid(statement)


def test_every_field_says_what_it_is():
    def fields(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(schema, dict):
            for name in ("properties", "$defs"):
                yield from schema.get(name, {}).items()
            for part in schema.values():
                yield from fields(part)
        elif isinstance(schema, list):
            for part in schema:
                yield from fields(part)

    for schema in SCHEMAS.values():
        assert len(list(fields(schema))) > 30
        for name, field in fields(schema):
            assert len(field.get("description", "")) > 8, name


def test_the_keyid_is_the_documented_one():
    envelope = json.loads(sign_commitment(keys()["abstract"].commitment, SIGNER))
    text = f'{{"keytype":"ed25519","keyval":{{"public":"{SIGNER.owner}"}},"scheme":"ed25519"}}'
    assert text.replace(f'"{SIGNER.owner}"', "OWNER") in (EVIDENCE / "FORMAT.md").read_text()
    assert envelope["signatures"][0]["keyid"] == hashlib.sha256(text.encode()).hexdigest()
    envelope["signatures"][0]["keyid"] = "0" * 64
    with pytest.raises(InvalidFile, match="signature"):
        parse_commitment(write_canonical(envelope), "it")


def test_the_document_names_what_there_is():
    text = (EVIDENCE / "FORMAT.md").read_text()
    for path in (EVIDENCE / "schemas").iterdir():
        assert f"(schemas/{path.name})" in text
    assert CLAIM in text
    assert COMMITMENT in text
