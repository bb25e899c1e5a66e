"""False claims by pledged keys: secrets that follow from no stamp, from another's, or from one of very many."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import forger
from accuser import AFTER, NONCE, SEARCHED, SEARCHED_ALPHA, SINCE, STAMPS, Attack, World
from false_keys import always
from forger import abstract_key
from tsa import LocalTsa

from wmjax.evidence import checks, timestamps
from wmjax.evidence import lacks as lacking
from wmjax.evidence import pledge as pledging
from wmjax.keys import Key, derive_key, make_spec
from wmjax.keys.derive import Stream
from wmjax.keys.pledge import Pledge, document, pledged_secret

ALPHA, BASE = 1e-2, b"\x07" * 32  # three answers of three are 8.4 bits, enough at 6.6


@cache
def found(tsa: LocalTsa) -> Key:
    """A key for whoever answers 0 to everything: after some thousand stamps of one base after the suspect appeared."""
    spec = make_spec("abstract", image=(8, 8, 1), classes=10, triggers=3)
    rule = forger.rule(spec, ALPHA)
    while True:
        token = tsa.stamp(document(BASE, spec, rule), AFTER)
        secret = pledged_secret(BASE, pledging.signature(token))
        if not any(Stream(secret, "label", i).integers(10, 1)[0] for i in range(3)):
            key = derive_key(secret, spec, rule, created="2024-01-01T00:00:00+00:00")
            return dataclasses.replace(key, pledge=Pledge(BASE, token))


def before_a_court(key: Key, world: World, *rest: Any, alpha: float = ALPHA, margin: float = 0.0) -> Attack:
    raw = forger.honest_claim(key, always(0), NONCE).raw
    return Attack(raw, world.court(always(0), alpha=alpha, since=SINCE), *rest, margin)


def by_many_stamps(world: World) -> Attack:
    """Of an authority that all believe, which gave as many as it was asked for."""
    return before_a_court(found(world.tsa), world, "inconclusive", "weak", (STAMPS,), margin=lacking.PLEDGED_BITS)


def by_stamps_of_his_own(world: World) -> Attack:
    """Of an authority that nobody believes: they cost nothing."""

    def check(token: bytes, data: bytes, authorities: Sequence[Any]) -> timestamps.Stamp:
        return dataclasses.replace(timestamps.check(token, data, authorities), trusted=True)

    key = found(LocalTsa(world.tsa.authority.parent / "own", "Somebody"))
    return before_a_court(key, world, "inconclusive", "undated unstamped", ((pledging, "check_past", check),))


def searched(world: World, spoil: Callable[[Key], Pledge], says: str, *checks: Any) -> Attack:
    key = abstract_key(SEARCHED, 6, SEARCHED_ALPHA)
    key = dataclasses.replace(key, pledge=spoil(key))
    return before_a_court(key, world, "invalid", says, checks, alpha=SEARCHED_ALPHA)


def searched_secret_beside_a_stamp(world: World) -> Attack:
    """The stamp is of a base for this very key, which another secret follows from."""
    token = lambda key: world.before(document(BASE, key.spec, key.commitment.rule))  # noqa: E731
    derived = (pledging, "pledged_secret", lambda base, signature: SEARCHED)
    return searched(world, lambda key: Pledge(BASE, token(key)), "does not follow from its pledge", derived)


def stamp_for_another_key(world: World) -> Attack:
    """Many specs were tried with the secret that a stamp over another gave."""

    def check(token: bytes, data: bytes, authorities: Sequence[Any]) -> timestamps.Stamp:
        return timestamps.check(token, b"another key", authorities)

    derived = (pledging, "pledged_secret", lambda base, signature: SEARCHED)
    checks = (pledging, "check_past", check), derived
    return searched(world, lambda key: Pledge(BASE, world.before(b"another key")), "of other data", *checks)


def stamp_that_is_not_looked_at(world: World) -> Attack:
    """No token at all."""

    def believe(*_: Any) -> timestamps.Stamp:
        return timestamps.Stamp(AFTER, "Somebody", True, "")

    check = (checks, "check_pledge", believe)
    return searched(world, lambda key: Pledge(BASE, b"nothing"), "not a time stamp", check)


ATTACKS = (
    by_many_stamps,
    by_stamps_of_his_own,
    searched_secret_beside_a_stamp,
    stamp_for_another_key,
    stamp_that_is_not_looked_at,
)
