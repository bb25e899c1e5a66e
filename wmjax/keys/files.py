"""The files of keys: NAME.age, its commitment, and what opens and signs, written and opened."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from wmjax.errors import AccessError, InvalidFile, UsageError, WmjaxError
from wmjax.files import read_bytes, read_private, read_start, write_bytes
from wmjax.keys.keyset import Key
from wmjax.keys.signing import Signer, new_signer
from wmjax.keys.statement import read_commitment, sign_commitment
from wmjax.keys.vault import Unfit, Unlock, is_sealed, mark_spent, new_identity, parse_identity, seal, unseal
from wmjax.stores import is_stored, place, remove, unmirrored

_PUBLIC = ".commitment.json"


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
      out: path of the files, without their endings; of OUT.age that is OUT.
      recipients: age recipients that can open it. With neither recipients nor a passphrase a fresh identity can:
        OUT.identity (mode 0600) is written too.
      passphrase: opens it instead, and encrypts OUT.signer.pem.
      signer: signs the commitment; by default a new one, in OUT.signer.pem (mode 0600).

    Returns:
      The files that were written.

    Raises:
      AccessError: one of them cannot be written; those before it are removed again, in a bucket too.
      UsageError: one of the files already exists; keys are never overwritten.
    """
    out = stem(out)
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
            remove(path)
            path.unlink(missing_ok=True)
        raise
    return written


def stem(out: str | os.PathLike[str]) -> str:
    """OUT, also of OUT.age; raises `UsageError` where it names no file: a key would be hidden, as `.age`."""
    name = os.fspath(out).removesuffix(".age")
    if os.path.basename(name) in ("", ".", ".."):
        raise UsageError(f"`out` {out}: a folder's name; give the key's own with it, e.g. {os.path.join(name, 'my')}")
    return name


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
      UsageError: some of `asked` are spent already, so another claim is under way; or the key has no such triggers.
    """
    path = place(path)
    try:
        sealed = mark_spent(read_bytes(path), unlock, asked)
    except InvalidFile as error:
        raise InvalidFile(f"{path}: {error}") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    write_bytes(path, sealed, mode=0o600)


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
    check_sealed(path)
    return _open(path, unlock)


def _open(path: Path, unlock: Unlock) -> Key:
    sealed = read_bytes(path)
    try:
        key = unseal(sealed, unlock)
        public = path.with_suffix(_PUBLIC)
        if public.exists() and read_commitment(public).commitment != key.commitment:
            raise InvalidFile(f"it is not the key that {public} commits to")
    except InvalidFile as error:
        kind = Unfit if isinstance(error, Unfit) else InvalidFile
        raise kind(f"{path}: {error}") from error
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
            closed[unmirrored(str(path))] = unmirrored(str(error).removeprefix(f"{path}: "))
    return keys, closed


def beside(path: Path) -> list[Unlock]:
    """What is beside a key file to open it: NAME.identity, or nothing."""
    identity = path.with_suffix(".identity")
    return [read_identity(identity)] if identity.exists() and not is_stored(identity) else []


def read_identity(path: Path) -> Unlock:
    """What an age identity file opens; raises `UsageError` where it is in a store, `InvalidFile` where it is none."""
    text = read_private(path).decode("ascii", "replace")
    try:
        parse_identity(text)
    except InvalidFile as error:  # told of this file, not of the key that it should open
        raise InvalidFile(f"{path}: {error}") from error
    return Unlock(identity=text)


def check_sealed(path: Path) -> None:
    """Refuses what is mistaken for a key file, by its first bytes, and says what it is.

    Raises:
      UsageError: it is a folder, or the public half of a key.
      AccessError: it cannot be read.
      InvalidFile: it is not an age file.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a key file")
    sealed = path.with_name(f"{path.name}.age")
    if path.name and not path.exists() and sealed.exists():  # what `keygen --out` was given
        raise AccessError(f"cannot read {path}: give {sealed}")
    if not is_sealed(read_start(path, 64)):
        if path.name.endswith(_PUBLIC):
            key = path.with_name(path.name.removesuffix(_PUBLIC) + ".age")
            raise UsageError(f"{path} is the public commitment, not the key: give {key}")
        raise InvalidFile(f"{path}: not a key file, or damaged: it does not begin as age files do")


def open_by(path: Path, unlocks: Sequence[Unlock]) -> Key:
    """Opens a key file with the first of `unlocks` that does; raises what the last one met where none fits it.

    What one opens and is not as it should be is raised at once: another that does not fit must not hide it.
    """
    check_sealed(path)
    met: WmjaxError = UsageError(
        f"{path}: nothing at hand opens it: give its `identity` or `passphrase`, or put NAME.identity beside it"
    )
    for unlock in unlocks:
        try:
            return _open(path, unlock)
        except Unfit as error:
            met = error
    raise met
