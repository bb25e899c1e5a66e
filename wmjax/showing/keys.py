"""Keys, and what belongs to them: sealed files, identities, signers, commitments."""

import json
import re

import pyrage

from wmjax.errors import InvalidFile
from wmjax.evidence.claim_file import attach
from wmjax.keys import SignedCommitment, open_signer, read_commitment
from wmjax.keys.memory import FORMAT as ASKED
from wmjax.keys.statement import COMMITMENT, parse_commitment
from wmjax.keys.vault import dearmour, is_armoured, is_sealed
from wmjax.showing.contract import Facts, Glimpse, Kind
from wmjax.text import by

_STANZA = re.compile(rb"^-> (\S+)", re.MULTILINE)
_PRIVATE = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_OPENERS = {"X25519": "an identity", "scrypt": "a passphrase"}


def _key(seen: Glimpse) -> Facts:
    """Who can open an age file is not in it, only in which way."""
    raw = dearmour(seen.raw.decode("ascii", "replace")) if is_armoured(seen.head) else seen.head
    header, end, _ = raw.partition(b"\n---")
    told = [name.decode("ascii", "replace") for name in _STANZA.findall(header)]
    stanzas = [name for name in told if not name.endswith("-grease")]  # noise, so that readers pass over what is new
    if not stanzas or not end:
        raise InvalidFile(f"{seen.path} is damaged: its header is not that of an age file")
    ways = sorted({_OPENERS.get(name, "another age plugin") for name in stanzas})
    beside = seen.path.with_suffix(".commitment.json")
    public = {}
    if beside.exists():  # only the opened key shows that it is the one of this commitment
        try:
            public = {"commitment_beside": str(beside), **_of_key(read_commitment(beside))}
        except InvalidFile as error:
            public = {"commitment_beside": f"not usable: {error}"}
    return {"opened_by": " or ".join(ways), "recipients": len(stanzas), **public}


def _of_key(public: SignedCommitment) -> Facts:
    """What a commitment says of its key."""
    commitment = public.commitment
    spec = commitment.spec
    return {
        "key_id": commitment.id,
        "owner": public.owner,
        "scheme": spec.scheme,
        "image": by(spec.image),
        "classes": spec.classes,
        "triggers": spec.triggers,
        "labels": spec.labels,
        "source": spec.source.name if spec.source else None,
        "alpha": commitment.rule.alpha,
        "created_as_the_owner_says": commitment.created,
    }


def _identity(seen: Glimpse) -> Facts:
    lines = [line for line in seen.raw.decode("ascii", "replace").splitlines() if line.startswith("AGE-SECRET-KEY-")]
    try:
        public = [str(pyrage.x25519.Identity.from_str(line.strip()).to_public()) for line in lines]
    except pyrage.IdentityError as error:
        raise InvalidFile(f"{seen.path} is damaged: its line AGE-SECRET-KEY-1... is malformed") from error
    return {"opens_what_is_sealed_to": ", ".join(public), "secret": "yes: show it to nobody"}


def _signer(seen: Glimpse) -> Facts:
    secret = {"secret": "yes: show it to nobody"}
    if b"ENCRYPTED" in seen.head:
        return {"encrypted": True, **secret}
    return {"owner": open_signer(seen.path).owner, "encrypted": False, **secret}


def _commitment(seen: Glimpse) -> Facts:
    public = parse_commitment(seen.raw, str(seen.path))
    released = public.model and {"released_model": public.model.name, "its_weights": public.model.tensors}
    return {
        "signature": "holds",
        **_of_key(public),
        **(released or {}),
        "time_stamps_beside": len(attach(seen.path).tokens),
    }


def _asked(seen: Glimpse) -> Facts:
    suspects: dict[str, set[int]] = {}
    for line in seen.raw.decode().split("\n")[1:-1]:
        name, shown = json.loads(line)
        suspects.setdefault(str(name), set()).update(int(i) for i in shown)
    return {"suspects": len(suspects), "triggers_shown": sum(map(len, suspects.values()))}


KINDS = (
    Kind("key", "a sealed key (an age file)", lambda seen: is_sealed(seen.head), _key),
    Kind("identity", "an age identity, which opens keys", lambda seen: b"AGE-SECRET-KEY-1" in seen.head, _identity),
    Kind("signer", "a signing key", lambda seen: _PRIVATE.search(seen.head) is not None, _signer),
    Kind("commitment", "a signed commitment to a key", lambda seen: seen.predicate == COMMITMENT, _commitment),
    Kind("asked", "what suspects were shown of a key", lambda seen: seen.lines_of == ASKED, _asked),
)
