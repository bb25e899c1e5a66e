"""Keys at rest: an age file (age-encryption.org/v1) that the `age` program alone can open.

The plaintext is JSON: {"format", "secret" (hex), "commitment", "images", "material", "embedding", "pledge",
"recipients", "spent"}. `images` is null where secret and spec regenerate the triggers, else their uint8 bytes in C
order, zlib-compressed, base64: a key over a data set can be used where the data set is not. `material` and `embedding`
are arrays as of `keys.material`, or null; `pledge` is as of `keys.pledge`, or null. `recipients` are who can open it
(none: a passphrase does), to seal it again for the same when triggers are `spent`: asked in a claim, and never to be
asked in another. Opening recomputes the commitment from the secret and refuses a mismatch.
"""

import base64
import dataclasses
import json
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyrage

from wmjax.errors import InvalidFile, UsageError
from wmjax.keys.commitment import Commitment
from wmjax.keys.keyset import Key, assemble, derive_key
from wmjax.keys.material import Material
from wmjax.keys.pledge import Pledge
from wmjax.keys.specify import is_self_derived
from wmjax.packed import pack, unpack

FORMAT = "wmjax-key/1"
_NO_KEY = "the key file opens but does not hold a wmjax key"
_DAMAGE = (KeyError, TypeError, ValueError, RecursionError, UsageError)
_HEADER = b"age-encryption.org/"
_ARMOUR = "-----BEGIN AGE ENCRYPTED FILE-----", "-----END AGE ENCRYPTED FILE-----"


@dataclasses.dataclass(frozen=True)
class Unlock:
    """What opens a key file: an age identity (`AGE-SECRET-KEY-1...`), or a passphrase.

    Attributes:
      identity: text of an identity file.
      passphrase: in place of it.
    """

    identity: str | None = dataclasses.field(default=None, repr=False)
    passphrase: str | None = dataclasses.field(default=None, repr=False)


def seal(key: Key, *, recipients: Sequence[str] | None = None, passphrase: str | None = None) -> bytes:
    """Encrypts a key to age recipients (`age1...`) or a passphrase; gives the bytes of the key file.

    Raises:
      UsageError: neither or both are given, or a recipient is malformed.
    """
    images = None if is_self_derived(key.spec) else pack(key.images.tobytes())
    contents = {
        "format": FORMAT,
        "secret": key.secret.hex(),
        "commitment": key.commitment.to_json(),
        "images": images,
        "material": key.material and key.material.to_json(),
        "embedding": key.embedding and key.embedding.to_json(),
        "pledge": key.pledge and key.pledge.to_json(),
        "recipients": list(recipients or []),
        "spent": sorted(key.spent),
    }
    return _encrypt(contents, recipients, passphrase)


def _encrypt(contents: dict[str, Any], recipients: Sequence[str] | None, passphrase: str | None) -> bytes:
    plaintext = json.dumps(contents).encode()
    if bool(recipients) == bool(passphrase):
        raise UsageError("seal a key to `recipients` or a `passphrase`: one of them")
    if passphrase:
        return bytes(pyrage.passphrase.encrypt(plaintext, passphrase))
    try:
        parsed = [pyrage.x25519.Recipient.from_str(text) for text in recipients or []]
    except pyrage.RecipientError as error:
        raise UsageError("not an age recipient: it looks like age1... and is made by `age-keygen`") from error
    return bytes(pyrage.encrypt(plaintext, parsed))


def new_identity() -> tuple[str, str]:
    """A fresh age identity: the text of its file, and its recipient."""
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    return f"# public key: {recipient}\n{identity}\n", recipient


def unseal(sealed: bytes, unlock: Unlock) -> Key:
    """Opens the bytes of a key file, which the key keeps, and checks that it is the one that was committed.

    Raises:
      InvalidFile: wrong identity or passphrase, damaged file, or a secret that does not give the commitment.
    """
    sealed = _bare(sealed)
    try:
        contents = _contents(sealed, unlock)
        commitment = Commitment.from_json(contents["commitment"])
        material, embedding = (
            None if contents[name] is None else Material.from_json(contents[name]) for name in ("material", "embedding")
        )
        key = _rebuild(bytes.fromhex(contents["secret"]), commitment, contents["images"], material)
        pledge = None if contents["pledge"] is None else Pledge.from_json(contents["pledge"])
        spent = frozenset(contents["spent"])
        return dataclasses.replace(key, spent=spent, embedding=embedding, pledge=pledge, sealed=sealed)
    except _DAMAGE as error:
        raise InvalidFile(_NO_KEY) from error


def _contents(sealed: bytes, unlock: Unlock) -> dict[str, Any]:
    """What a key file holds: read, and not yet believed."""
    contents: dict[str, Any] = json.loads(_decrypt(sealed, unlock))
    if contents["format"] != FORMAT:
        raise InvalidFile(f"key format {contents['format']!r:.50}: this version reads {FORMAT}")
    triggers = contents["commitment"]["spec"]["triggers"]
    if any(type(i) is not int or not 0 <= i < triggers for i in contents["spent"]):
        raise InvalidFile("the key names spent triggers that it has not")
    return contents


class Unfit(InvalidFile):
    """This does not open the key file, or the file is damaged: something else may open it."""


def is_sealed(raw: bytes) -> bool:
    """Whether these are the bytes of an age file, as a key file is one."""
    return raw.startswith(_HEADER) or is_armoured(raw)


def is_armoured(raw: bytes) -> bool:
    """Whether these are the first bytes of an age file in its ASCII form."""
    return raw.startswith(_ARMOUR[0].encode())


def _bare(sealed: bytes) -> bytes:
    return dearmour(sealed.decode("ascii", "replace")) if is_armoured(sealed) else sealed


def _rebuild(secret: bytes, commitment: Commitment, packed: Any, material: Material | None) -> Key:
    spec = commitment.spec
    if is_self_derived(spec):
        if packed is not None:
            raise InvalidFile("the key carries images where its secret alone must give them")
        key = derive_key(secret, spec, commitment.rule, created=commitment.created)
    else:
        raw = unpack(packed, spec.triggers * spec.input.size)
        images = np.frombuffer(raw, np.uint8).reshape(spec.triggers, *spec.image)
        key = assemble(secret, spec, commitment.rule, images, commitment.created, material)
    if key.commitment != commitment:
        raise InvalidFile("the key does not match its commitment: its secret or images were exchanged")
    return key


def _decrypt(sealed: bytes, unlock: Unlock) -> bytes:
    try:
        if unlock.passphrase is not None:
            return bytes(pyrage.passphrase.decrypt(sealed, unlock.passphrase))
        return bytes(pyrage.decrypt(sealed, [parse_identity(unlock.identity or "")]))
    except pyrage.DecryptError as error:
        opener = "passphrase" if unlock.passphrase is not None else "identity"
        raise Unfit(f"cannot open the key: the {opener} is not its own, or the file is damaged") from error


def parse_identity(text: str) -> pyrage.x25519.Identity:
    """The identity in the text of an age identity file; raises `InvalidFile` where it holds none."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1:
        raise InvalidFile("not an age identity file: it has one line AGE-SECRET-KEY-1... beside comments")
    try:
        return pyrage.x25519.Identity.from_str(lines[0])
    except pyrage.IdentityError as error:
        raise InvalidFile("not an age identity file: its line AGE-SECRET-KEY-1... is malformed") from error


def mark_spent(sealed: bytes, unlock: Unlock, asked: Collection[int]) -> bytes:
    """A key file with more triggers spent, sealed again to whom it was sealed.

    Raises:
      InvalidFile: it cannot be opened, or holds no key.
      UsageError: some of `asked` are spent already, or not in the key.
    """
    try:
        contents = _contents(_bare(sealed), unlock)
        spent, recipients = frozenset(contents["spent"]), [str(text) for text in contents["recipients"]]
    except _DAMAGE as error:
        raise InvalidFile(_NO_KEY) from error
    fresh, triggers = frozenset(map(int, asked)), contents["commitment"]["spec"]["triggers"]
    if unknown := [i for i in sorted(fresh) if not 0 <= i < triggers]:
        raise UsageError(f"`asked` {unknown[0]}: its triggers are 0 to {triggers - 1}")
    if spent & fresh:
        raise UsageError("another claim has spent some of its triggers meanwhile: make one claim at a time")
    contents["spent"] = sorted(spent | fresh)
    return _encrypt(contents, recipients, None if recipients else unlock.passphrase)


def armour(sealed: bytes) -> str:
    """The ASCII form of an age file, for JSON."""
    text = base64.b64encode(sealed).decode()
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return "\n".join((_ARMOUR[0], *lines, _ARMOUR[1], ""))


def dearmour(text: str) -> bytes:
    """The bytes behind `armour`; raises `InvalidFile` on anything else."""
    lines = text.strip().splitlines() or [""]
    if (lines[0], lines[-1]) != _ARMOUR:
        raise InvalidFile("not an armoured age file")
    try:
        return base64.b64decode("".join(lines[1:-1]), validate=True)
    except ValueError as error:
        raise InvalidFile("not an armoured age file") from error
