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
import os
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyrage

from wmjax.errors import AccessError, InvalidFile, UsageError, WmjaxError
from wmjax.files import read_bytes, write_bytes
from wmjax.keys.commitment import Commitment
from wmjax.keys.keyset import Key, assemble, derive_key
from wmjax.keys.material import Material
from wmjax.keys.pledge import Pledge
from wmjax.keys.signing import Signer, new_signer
from wmjax.keys.specify import is_self_derived
from wmjax.keys.statement import read_commitment, sign_commitment
from wmjax.stores import is_stored, named, place, private

FORMAT = "wmjax-key/1"
_NO_KEY = "the key file opens but does not hold a wmjax key"
_DAMAGE = (KeyError, TypeError, ValueError, RecursionError, UsageError, zlib.error)
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
    images = None if is_self_derived(key.spec) else base64.b64encode(zlib.compress(key.images.tobytes(), 9)).decode()
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


def _bare(sealed: bytes) -> bytes:
    return dearmour(sealed.decode("ascii", "replace")) if sealed.startswith(_ARMOUR[0].encode()) else sealed


def _rebuild(secret: bytes, commitment: Commitment, packed: Any, material: Material | None) -> Key:
    spec = commitment.spec
    if is_self_derived(spec):
        if packed is not None:
            raise InvalidFile("the key carries images where its secret alone must give them")
        key = derive_key(secret, spec, commitment.rule, created=commitment.created)
    else:
        size = spec.triggers * spec.input.size
        raw = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), size + 1)  # no bombs
        images = np.frombuffer(raw, np.uint8).reshape(spec.triggers, *spec.image)
        key = assemble(secret, spec, commitment.rule, images, commitment.created, material)
    if key.commitment != commitment:
        raise InvalidFile("the key does not match its commitment: its secret or images were exchanged")
    return key


def _decrypt(sealed: bytes, unlock: Unlock) -> bytes:
    try:
        if unlock.passphrase is not None:
            return bytes(pyrage.passphrase.decrypt(sealed, unlock.passphrase))
        return bytes(pyrage.decrypt(sealed, [_parse_identity(unlock.identity or "")]))
    except pyrage.DecryptError as error:
        opener = "passphrase" if unlock.passphrase is not None else "identity"
        raise InvalidFile(f"cannot open the key: the {opener} is not its own, or the file is damaged") from error


def _parse_identity(text: str) -> pyrage.x25519.Identity:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1:
        raise InvalidFile("not an age identity file: it has one line AGE-SECRET-KEY-1... beside comments")
    try:
        return pyrage.x25519.Identity.from_str(lines[0])
    except pyrage.IdentityError as error:
        raise InvalidFile("not an age identity file: its line AGE-SECRET-KEY-1... is malformed") from error


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


def write_key(
    key: Key,
    out: str | os.PathLike[str],
    *,
    recipients: Sequence[str] = (),
    passphrase: str | None = None,
    signer: Signer | None = None,
) -> list[Path]:
    """Writes OUT.age and the signed OUT.commitment.json, and what opens and signs if that would be missing.

    Example:

        wmjax.write_key(key, "my")  # my.age, my.commitment.json, my.identity, my.signer.pem

    Args:
      key: what to seal.
      out: path of the files, without their endings.
      recipients: age recipients that can open it. With neither recipients nor a passphrase a fresh identity can:
        OUT.identity (mode 0600) is written too.
      passphrase: opens it instead, and encrypts OUT.signer.pem.
      signer: signs the commitment; by default a new one, in OUT.signer.pem (mode 0600).

    Returns:
      The files that were written.

    Raises:
      AccessError: one of them cannot be written; none is left then.
      UsageError: one of the files already exists; keys are never overwritten.
    """
    files = {"age": b"", "commitment.json": sign_commitment(key.commitment, signer or (fresh := new_signer()))}
    if signer is None:
        files["signer.pem"] = fresh.to_pem(passphrase)
    if not recipients and passphrase is None:
        text, recipient = new_identity()
        files["identity"] = text.encode()
        recipients = [recipient]
    paths = {end: place(f"{out}.{end}") for end in files}
    if is_stored(paths["age"]) and {"signer.pem", "identity"} & files.keys():
        raise UsageError(f"{out}: what opens a key or signs for it stays here: give `recipients` and `signer`")
    check_free(list(paths.values()))
    files["age"] = seal(key, recipients=recipients, passphrase=passphrase)
    written: list[Path] = []
    try:
        for end, path in paths.items():
            write_bytes(path, files[end], mode=0o644 if end == "commitment.json" else 0o600)
            written.append(path)
    except AccessError:
        for path in written:  # no half of a key is left
            path.unlink(missing_ok=True)
        raise
    return written


def check_free(paths: Sequence[Path]) -> None:
    """Raises `UsageError` where one of the files exists."""
    if existing := [path for path in paths if os.path.lexists(path)]:
        raise UsageError(f"{existing[0]} already exists: keys are never overwritten, choose another `out`")


def spend(path: str | os.PathLike[str], unlock: Unlock, asked: Collection[int]) -> None:
    """Marks triggers as spent in a key file: sealed again to whom it was sealed, written beside and renamed.

    A key that is sealed to a passphrase takes a second or two, by the design of age; one sealed to recipients does not.

    Example:

        wmjax.spend("my.age", unlock, asked=[3, 14])

    Args:
      path: of the key file; a symbolic link is followed.
      unlock: what opens it.
      asked: triggers that are about to be asked.

    Raises:
      AccessError: the file cannot be read or written.
      InvalidFile: it cannot be opened.
      UsageError: some of `asked` are spent already, so another claim is under way.
    """
    path = place(path)
    sealed = _bare(read_bytes(path))
    try:
        contents = _contents(sealed, unlock)
        spent, recipients = frozenset(contents["spent"]), [str(text) for text in contents["recipients"]]
    except _DAMAGE as error:
        raise InvalidFile(f"{path}: {_NO_KEY}") from error
    if spent & frozenset(asked):
        raise UsageError(f"another claim has spent triggers of {path} meanwhile: make one claim at a time")
    contents["spent"] = sorted(spent | frozenset(asked))
    write_bytes(path, _encrypt(contents, recipients, None if recipients else unlock.passphrase), mode=0o600)


def open_key(path: str | os.PathLike[str], unlock: Unlock) -> Key:
    """Opens STEM.age and compares it with STEM.commitment.json, if that is beside it.

    Example:

        key = wmjax.open_key("my.age", wmjax.Unlock(identity=Path("my.identity").read_text()))

    Args:
      path: of STEM.age.
      unlock: what opens it.

    Raises:
      UsageError: it is a folder.
      AccessError: a file cannot be read.
      InvalidFile: it is damaged, or not what was committed.
    """
    path = place(path)
    _check_file(path)
    sealed = read_bytes(path)
    try:
        key = unseal(sealed, unlock)
        public = path.with_suffix(".commitment.json")
        if public.exists() and read_commitment(public).commitment != key.commitment:
            raise InvalidFile(f"it is not the key that {public} commits to")
    except InvalidFile as error:
        raise InvalidFile(f"{path}: {error}") from error
    return key


def open_keys(folder: str | os.PathLike[str], unlocks: Sequence[Unlock] = ()) -> tuple[dict[str, Key], dict[str, str]]:
    """Opens every NAME.age of a folder with what opens it: NAME.identity beside it, or one of `unlocks`.

    Example:

        keys, closed = wmjax.open_keys("keys")

    Args:
      folder: of the key files.
      unlocks: identities and passphrases to try in turn.

    Returns:
      the keys by name, and for each path that could not be opened why.

    Raises:
      UsageError: it is a file.
      AccessError: the folder cannot be read.
    """
    folder = place(folder)
    if folder.is_file():
        raise UsageError(f"{folder} is a file: `keys` names a folder of them")
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".age")
    except OSError as error:
        raise AccessError(f"cannot read {folder}: {error.strerror}") from error
    keys: dict[str, Key] = {}
    closed = {}
    for path in paths:
        try:
            keys[path.stem] = open_by(path, [*beside(path), *unlocks])
        except WmjaxError as error:
            closed[named(str(path))] = named(str(error).removeprefix(f"{path}: "))
    return keys, closed


def beside(path: Path) -> list[Unlock]:
    """What lies beside a key file to open it: NAME.identity, or nothing."""
    identity = path.with_suffix(".identity")
    return [read_identity(identity)] if identity.exists() and not is_stored(identity) else []


def read_identity(path: Path) -> Unlock:
    """What an age identity file opens; raises `UsageError` where it is in a store."""
    return Unlock(identity=read_bytes(private(path)).decode("ascii", "replace"))


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a key file")


def open_by(path: Path, unlocks: Sequence[Unlock]) -> Key:
    """Opens a key file with the first of `unlocks` that does; where none does, raises what the last one met."""
    _check_file(path)
    if not unlocks:
        read_bytes(path)  # a file that is not there is told first
    met: WmjaxError = UsageError(
        f"{path}: nothing at hand opens it: give its `identity` or passphrase, or put NAME.identity beside it"
    )
    for unlock in unlocks:
        try:
            return open_key(path, unlock)
        except WmjaxError as error:
            met = error
    raise met
