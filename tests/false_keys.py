"""False claims by the key: images and labels that no secret gave, crafted sources, searched secrets, false dates."""

import dataclasses
from collections.abc import Callable
from typing import Any

import forger
import numpy as np
from accuser import (
    BEFORE,
    DATED,
    DERIVED,
    INNOCENT,
    MARGIN,
    NONCE,
    REVEALED,
    SEARCH,
    SEARCHED,
    SEARCHED_ALPHA,
    SECRET,
    Attack,
    World,
    nothing,
    transferable,
)
from forger import abstract_key, answers_of, order, to_peak, transcript, write
from sklearn.datasets import load_digits
from tsa import LocalTsa

from wmjax.data.dataset import Dataset
from wmjax.evidence import checks, timestamps
from wmjax.evidence import claim_file as reading
from wmjax.evidence import judge as judging
from wmjax.evidence import lacks as lacking
from wmjax.evidence.facts import Court
from wmjax.keys import Spec, derive_key, make_spec, new_signer
from wmjax.keys.derive import Stream
from wmjax.keys.schemes import SCHEMES
from wmjax.keys.schemes.contract import source_rows

# Images and labels that no secret gave.


def adversarial(world: World, secret: bytes | None) -> Attack:
    """Liu et al.: 50 transferable adversarial examples with the labels that they were made for."""
    images, targets, victim = transferable()
    key = forger.made_up(make_spec("abstract", image=(8, 8, 1), classes=10, triggers=50), images, targets)
    rows = to_peak(key, transcript(key, order(key, NONCE), answers_of(key, victim)))
    raw = write(key, rows, NONCE, stamp=world.before, secret=secret)
    verdict, says, check = ("invalid", "made up", DERIVED) if secret else ("inconclusive", "unrevealed", REVEALED)
    return Attack(raw, world.court(victim), verdict, says, (check,))


def adversarial_kept_secret(world: World) -> Attack:
    return adversarial(world, None)


def adversarial_with_some_secret(world: World) -> Attack:
    return adversarial(world, SECRET)


def images_after_labels(world: World) -> Attack:
    """Labels from the secret; images of which this very suspect says so."""
    labels, pool = (
        abstract_key(SECRET).labels,
        np.random.default_rng(1).integers(256, size=(2000, 8, 8, 1), dtype=np.uint8),
    )
    told = INNOCENT(pool)
    images = np.stack([pool[np.flatnonzero(told == label)[i]] for i, label in enumerate(labels)])
    return made_up_for_the_suspect(world, images, labels)


def labels_after_images(world: World) -> Attack:
    """Images from the secret; the suspect's answers for labels."""
    images = abstract_key(SECRET).images
    return made_up_for_the_suspect(world, images, INNOCENT(images))


def made_up_for_the_suspect(world: World, images: np.ndarray, labels: np.ndarray) -> Attack:
    key = forger.made_up(abstract_key(SECRET).spec, images, labels, SECRET)
    rows = transcript(key, order(key, NONCE), answers_of(key, INNOCENT))
    raw = write(key, rows, NONCE, stamp=world.before, secret=SECRET)
    return Attack(raw, world.court(INNOCENT), "invalid", "made up", (DERIVED,))


def other_openings(world: World) -> Attack:
    """Two checks, proofs and secret: an honest commitment, but openings of another tree, with the suspect's answers."""
    key = abstract_key(SECRET)
    fitted = forger.made_up(key.spec, key.images, INNOCENT(key.images), SECRET)
    rows = transcript(fitted, order(key, NONCE), answers_of(key, INNOCENT))
    raw = write(key, rows, NONCE, stamp=world.before, secret=SECRET)
    return Attack(raw, world.court(INNOCENT), "invalid", "proof", ((judging, "check_proofs", nothing), DERIVED))


def one_label_for_all(world: World) -> Attack:
    """A key with one fixed label, against a suspect that says it of all strange pictures."""
    spec = make_spec("abstract", image=(8, 8, 1), classes=10, triggers=20, labels="fixed")
    key = derive_key(SECRET, spec, forger.rule(spec), created="2024-01-01T00:00:00+00:00")
    said = int(key.labels[0])
    claim = forger.honest_claim(key, always(said), NONCE, stamp=world.before)
    court = world.court(always(said))
    return Attack(claim.raw, court, "invalid", "fixed labels", ((judging, "check_spec", nothing),))


# A source that the accuser made up.


def crafted_source(secret: bytes, scheme: str) -> tuple[Spec, Dataset]:
    """A data set of 2,000 pictures from which a secret's triggers come out as the suspect answers them."""
    rng = np.random.default_rng(2)
    source = Dataset(rng.integers(256, size=(2000, 8, 8, 1), dtype=np.uint8), np.arange(2000, dtype=np.int32) % 10, 10)
    spec = make_spec(scheme, image=(8, 8, 1), classes=10, triggers=20, source=("digits", source))
    labels = np.array([Stream(secret, "label", i).integers(10, 1)[0] for i in range(spec.triggers)])
    rows = (
        blended(secret, spec, source)
        if scheme == "blend"
        else source_rows(secret, spec, source, range(spec.triggers))[:, None]
    )
    for _ in range(500):  # pictures are exchanged until the trigger that is made from them is answered as it shall be
        wrong = INNOCENT(SCHEMES[scheme].draw(secret, spec, source, range(spec.triggers))) != labels
        if not wrong.any():
            break
        source.images[rows[wrong].ravel()] = rng.integers(256, size=(rows[wrong].size, 8, 8, 1), dtype=np.uint8)
    source = dataclasses.replace(source)  # its digest is counted once
    return make_spec(scheme, image=(8, 8, 1), classes=10, triggers=20, source=("digits", source)), source


def blended(secret: bytes, spec: Spec, source: Dataset) -> np.ndarray:
    """Which two pictures `blend` merges, int [triggers, 2]; any two neighbours have different classes here."""
    pairs = []
    for i in range(spec.triggers):
        stream = Stream(secret, "image/blend", i)
        first = second = stream.integers(len(source), 1)[0]
        while source.labels[second] == source.labels[first]:
            second = stream.integers(len(source), 1)[0]
        pairs.append((first, second))
    return np.array(pairs)


def with_crafted_source(world: World, scheme: str, at_hand: bool) -> Attack:
    spec, source = crafted_source(SECRET, scheme)
    key = derive_key(SECRET, spec, forger.rule(spec), source, "2024-01-01T00:00:00+00:00")
    claim = forger.honest_claim(key, INNOCENT, NONCE, stamp=world.before)
    if not at_hand:
        return Attack(claim.raw, world.court(INNOCENT), "inconclusive", "underived", (REVEALED,))
    genuine = Dataset(load_digits().images.astype(np.uint8)[..., None] * 15, load_digits().target.astype(np.int32), 10)
    court = world.court(INNOCENT, sources=[genuine])
    return Attack(claim.raw, court, "inconclusive", "other-source", (REVEALED,))


def crafted_source_not_at_hand(world: World) -> Attack:
    return with_crafted_source(world, "blend", at_hand=False)


def crafted_source_beside_the_genuine_one(world: World) -> Attack:
    return with_crafted_source(world, "noise", at_hand=True)


# Secrets that were searched, and dates that are not true.


def always(label: int) -> forger.Ask:
    """A suspect that gives one answer to everything."""
    return lambda images: np.full(len(images), label)


def searched(world: World, stamp: Callable[[bytes], bytes] | None, **fields: Any) -> bytes:
    """A claim by the secret that 2**20 tries found."""
    key = forger.replaced(abstract_key(SEARCHED, 6, SEARCHED_ALPHA), **fields)
    return forger.honest_claim(key, always(0), NONCE, stamp=stamp).raw


def court_of_search(world: World, **fields: Any) -> Court:
    return world.court(always(0), alpha=SEARCHED_ALPHA, **fields)


def searched_without_a_date(world: World) -> Attack:
    return Attack(searched(world, None), court_of_search(world), "inconclusive", "undated unstamped", (SEARCH,))


def searched_and_dated_too_late(world: World) -> Attack:
    raw = searched(world, world.after)
    return Attack(raw, court_of_search(world), "inconclusive", "undated late", (DATED,))


def searched_where_nobody_says_since_when(world: World) -> Attack:
    raw = searched(world, world.after)
    return Attack(raw, court_of_search(world, since=None), "inconclusive", "undated unknown", (DATED,))


def searched_before_the_date(world: World) -> Attack:
    """Against a model that the suspect comes to resemble; here it answers just the same."""
    raw = searched(world, world.before)
    return Attack(raw, court_of_search(world), "inconclusive", "weak", (MARGIN,), lacking.DATED_BITS)


def searched_live(world: World) -> Attack:
    """2**12 secrets against an innocent that is like any other; enough where a chance of 1 % is accepted."""
    spec = make_spec("abstract", image=(8, 8, 1), classes=10, triggers=3)
    for number in range(1 << 12):
        secret = (number + (1 << 30)).to_bytes(32)
        one = dataclasses.replace(spec, triggers=1)
        if (
            INNOCENT(SCHEMES["abstract"].draw(secret, one, None, [0]))[0]
            != Stream(secret, "label", 0).integers(10, 1)[0]
        ):
            continue
        key = derive_key(secret, spec, forger.rule(spec, 1e-2), created="2024-01-01T00:00:00+00:00")
        if np.all(INNOCENT(key.images) == key.labels):
            break
    raw = forger.honest_claim(key, INNOCENT, NONCE).raw
    return Attack(raw, world.court(INNOCENT, alpha=1e-2), "inconclusive", "undated unstamped", (SEARCH,))


def dated_back_by_his_own_clock(world: World) -> Attack:
    raw = searched(world, None, created="2020-01-01T00:00:00+00:00")
    return Attack(raw, court_of_search(world), "inconclusive", "undated unstamped", (DATED,))


def stamp_of_an_older_commitment(world: World) -> Attack:
    """A genuine token of a key that he had committed to in time."""
    signer = new_signer()
    older = forger.commit(abstract_key(SECRET), signer, world.before)

    def check(token: bytes, data: bytes, authorities: Any) -> timestamps.Stamp:
        return timestamps.check(token, older.public.raw, authorities)

    raw = searched(world, lambda raw: older.tokens[0])
    return Attack(raw, court_of_search(world), "invalid", "of other data", ((checks, "check_past", check),))


def older_commitment_beside(world: World) -> Attack:
    """The older commitment itself, with its token, attached beside the searched one."""
    signer, key = new_signer(), abstract_key(SEARCHED, 6, SEARCHED_ALPHA)
    commitments = [forger.commit(key, signer), forger.commit(abstract_key(SECRET), signer, world.before)]
    rows = transcript(key, order(key, NONCE), answers_of(key, always(0)))
    raw = write(key, rows, NONCE, signer=signer, commitments=commitments, secret=key.secret)
    return Attack(raw, court_of_search(world), "invalid", "different keys", ((reading, "_check_one_key", nothing),))


def stamp_by_an_unknown_authority(world: World) -> Attack:
    def check(token: bytes, data: bytes, authorities: Any) -> timestamps.Stamp:
        return dataclasses.replace(timestamps.check(token, data, authorities), trusted=True)

    unknown = LocalTsa(world.tsa.authority.parent / "unknown", "Somebody")
    raw = searched(world, forger.dated(unknown, BEFORE))
    return Attack(raw, court_of_search(world), "inconclusive", "undated unbelieved", ((checks, "check_past", check),))


def stamp_forged_with_its_own_root(world: World) -> Attack:
    """Issuer, name and number of the trusted authority; the root is embedded, as older clients believed it."""
    raw = searched(
        world, lambda data: world.other.stamp(data, BEFORE, embedded=[world.other.certificate, world.other.root])
    )
    return Attack(raw, court_of_search(world), "invalid", "does not verify", ((timestamps, "_verify", nothing),))
