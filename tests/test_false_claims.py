"""False claims fail: a table of attacks by accusers with signing keys of their own, each with the check that stops it.

Every attack makes a claim file and brings it before a court (nonce, suspect, authorities, since when the suspect is
there). It must not be a match; and with its own check taken out the same file must be one, so that a test fails where a
check is lost. After Liu et al. (USENIX Security 2024), and stronger.
"""

import base64
import dataclasses
import datetime
import hashlib
from collections.abc import Callable
from typing import Any

import forger
import numpy as np
import pytest
from forger import abstract_key, answers_of, day, innocent, knowing, order, sign_by_nobody, to_peak, transcript, write
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits
from tsa import LocalTsa

from wmjax import stats
from wmjax.canonical import read_canonical, write_canonical
from wmjax.data.dataset import Dataset
from wmjax.errors import InvalidFile, UsageError
from wmjax.evidence import claim as reading
from wmjax.evidence import judge as judging
from wmjax.evidence import lacks as lacking
from wmjax.evidence import timestamps
from wmjax.evidence import transcript as rows_of
from wmjax.evidence.claim import Attached, read_claim
from wmjax.evidence.conflict import settle
from wmjax.evidence.facts import Court, Facts
from wmjax.evidence.judge import judge
from wmjax.evidence.timestamps import Authority, read_authority
from wmjax.keys import Key, Model, Spec, derive_key, make_spec, new_signer, signing
from wmjax.keys.derive import Stream
from wmjax.keys.schemes import SCHEMES
from wmjax.keys.schemes.contract import source_rows
from wmjax.stats import labels as label_bets

NONCE, OLDER_NONCE = b"n" * 32, b"o" * 32
BEFORE, SINCE, AFTER = day(2024, 1), day(2024, 6), day(2024, 9)
SECRET = b"\x01" * 32
INNOCENT = innocent()
# Of the secrets 0 .. 2**20 - 1 four give six labels 0, for a suspect that answers 0 to everything; this is the first.
SEARCHED = (67789).to_bytes(32)
SEARCHED_ALPHA = 1e-5  # 16.6 bits; six answers of six are 18.4

Patch = tuple[Any, str, Any]


@dataclasses.dataclass(frozen=True)
class Attack:
    """A false claim before a court.

    Attributes:
      raw: the claim's file.
      court: who judges.
      verdict: `invalid`, or the one that is judged.
      says: part of the refusal; of a judgement the code of what is missing, and why that is.
      without: the checks that stop it: taken out, it is a match. Where there are several, any one of them stops it.
      margin: `DATED_BITS` in force: none, so that each check is seen alone, but where it is the check itself.
    """

    raw: bytes
    court: Court
    verdict: str
    says: str
    without: tuple[Patch, ...]
    margin: float = 0.0


@dataclasses.dataclass(frozen=True)
class World:
    """An authority that the courts trust, and its stamps from before and after the suspect appeared."""

    tsa: LocalTsa
    authority: Authority
    other: LocalTsa
    before: Callable[[bytes], bytes]
    after: Callable[[bytes], bytes]

    def court(self, ask: forger.Ask | None, **fields: Any) -> Court:
        usual = {"nonce": NONCE, "authorities": [self.authority], "since": SINCE}
        return Court(**{**usual, "suspect": ask and forger.suspect(ask), **fields})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("tsa")
    tsa = LocalTsa(folder / "one")
    forged = LocalTsa(folder / "two", serial=tsa.certificate.serial_number)  # same names, same number
    return World(tsa, read_authority(tsa.authority), forged, forger.dated(tsa, BEFORE), forger.dated(tsa, AFTER))


def outcome(attack: Attack) -> tuple[str, str]:
    """The verdict, and the refusal or the codes of what is missing."""
    try:
        judgement = judge(read_claim(attack.raw, "claim"), attack.court)
    except InvalidFile as error:
        return "invalid", str(error)
    return judgement.verdict, " ".join(
        f"{lack.code} {lack.values.get('why', '')}".strip() for lack in judgement.missing
    )


def nothing(*arguments: object) -> None:
    """In the place of a check."""


def truth(*arguments: object) -> bool:
    return True


def believe_transcript(claim: Any, suspect: Any) -> stats.Answers:
    """In the place of the judge's own asking."""
    return rows_of.answers(claim.rows, claim.commitment.spec.classes)


DERIVED: Patch = (judging, "check_secret", truth)
REVEALED: Patch = (lacking, "underived", nothing)
DATED: Patch = (Facts, "is_before_suspect", property(truth))
SEARCH: Patch = (lacking, "SEARCH_BITS", 0.0)
MARGIN: Patch = (lacking, "DATED_BITS", 0.0)
PICKED: Patch = (judging, "check_picks", nothing)
NONCED: Patch = (judging, "check_nonce", nothing)
ASKED: Patch = (judging, "ask", believe_transcript)


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
    """Two checks, the proofs and the secret: an honest commitment, but openings of another tree, with the suspect's answers for labels."""
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
    court = world.court(INNOCENT, source=genuine)
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
    return Attack(raw, court_of_search(world), "invalid", "of other data", ((judging, "check", check),))


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
    return Attack(raw, court_of_search(world), "inconclusive", "undated unbelieved", ((judging, "check", check),))


def stamp_forged_with_its_own_root(world: World) -> Attack:
    """Issuer, name and number of the trusted authority; the root is embedded, as older clients believed it."""
    raw = searched(
        world, lambda data: world.other.stamp(data, BEFORE, embedded=[world.other.certificate, world.other.root])
    )
    return Attack(raw, court_of_search(world), "invalid", "does not verify", ((timestamps, "_verify", nothing),))


# Transcripts that are not this suspect's, or not whole.


def marked() -> tuple[Key, forger.Ask]:
    """An honest key, and the owner's own model."""
    key = abstract_key(SECRET)
    return key, knowing(key)


def replayed_answers(world: World) -> Attack:
    """The answers of the accuser's own model, presented as the suspect's; or a claim on A, before a judge of B."""
    key, own_model = marked()
    raw = forger.honest_claim(key, own_model, NONCE, stamp=world.before).raw
    return Attack(raw, world.court(INNOCENT), "no-match", "", (ASKED,))


def replayed_answers_to_a_judge_who_does_not_ask(world: World) -> Attack:
    key, own_model = marked()
    raw = forger.honest_claim(key, own_model, NONCE, stamp=world.before).raw
    return Attack(raw, world.court(None), "inconclusive", "unasked", ((lacking, "unasked", nothing),))


def replayed_answers_under_the_suspects_name(world: World) -> Attack:
    """Two checks: the weights that are named did not answer so, and the judge asks himself."""
    key, own_model = marked()
    model = Model("step", "a" * 64, "b" * 64)
    rows = transcript(key, order(key, NONCE), answers_of(key, own_model))
    raw = write(key, rows, NONCE, stamp=world.before, secret=key.secret, model=model)
    court = world.court(INNOCENT)
    court = dataclasses.replace(court, suspect=dataclasses.replace(court.suspect, describe=lambda: model))
    return Attack(raw, court, "invalid", "transcript is false", ((judging, "check_answers", lambda *_: 0), ASKED))


def claim_for_an_older_nonce(world: World) -> Attack:
    key, own_model = marked()
    raw = forger.honest_claim(key, own_model, OLDER_NONCE, stamp=world.before).raw
    return Attack(raw, world.court(own_model), "invalid", "another nonce", (NONCED,))


def many_triggers() -> tuple[Key, list[int], list[int]]:
    """A key of 120 triggers; those which an innocent happens to answer, in the nonce's order, and the others."""
    key = abstract_key(SECRET, 120)
    hit = {i for i, answer in answers_of(key, INNOCENT).items() if answer == key.labels[i]}
    return key, [i for i in order(key, NONCE) if i in hit], [i for i in order(key, NONCE) if i not in hit]


def losing_rows_left_out(world: World) -> Attack:
    key, hits, _ = many_triggers()
    raw = write(key, transcript(key, hits, answers_of(key, INNOCENT)), NONCE, stamp=world.before, secret=key.secret)
    return Attack(raw, world.court(INNOCENT), "invalid", "where the nonce picks", (PICKED,))


def winning_rows_first(world: World) -> Attack:
    key, hits, misses = many_triggers()
    rows = transcript(key, [*hits, *misses], answers_of(key, INNOCENT))
    raw = write(key, rows, NONCE, stamp=world.before, secret=key.secret)
    return Attack(raw, world.court(INNOCENT), "invalid", "where the nonce picks", (PICKED,))


def best_nonce() -> tuple[Key, bytes]:
    """Of 2**16 nonces the one whose first three triggers the innocent answers; enough where 1 % is accepted."""
    key = abstract_key(SECRET, 120, 1e-2)
    hit = answers_of(key, INNOCENT)
    for number in range(1 << 16):
        nonce = number.to_bytes(32)
        if all(hit[i] == key.labels[i] for i in order(key, nonce, 3)):
            return key, nonce
    raise AssertionError("no nonce found")


def own_nonce(world: World, whole: bool) -> bytes:
    key, nonce = best_nonce()
    return forger.honest_claim(key, INNOCENT, nonce, stamp=world.before, whole=whole).raw


def own_nonce_before_a_judge_with_his(world: World) -> Attack:
    court = world.court(INNOCENT, alpha=1e-2)
    return Attack(own_nonce(world, False), court, "invalid", "another nonce", (NONCED,))


def own_nonce_before_a_judge_with_none(world: World) -> Attack:
    court = world.court(INNOCENT, alpha=1e-2, nonce=None)
    without = ((lacking, "unpicked", nothing),)
    return Attack(own_nonce(world, False), court, "inconclusive", "unpicked", without)


def own_order_of_the_whole_key(world: World) -> Attack:
    """Nobody chose among the triggers, but he chose when the evidence peaks: only its end counts."""
    court = world.court(INNOCENT, alpha=1e-2, nonce=None)
    without = ((judging, "counted_bits", lambda facts, path: float(path.max())),)
    return Attack(own_nonce(world, True), court, "inconclusive", "weak", without)


def spent_triggers_again(world: World) -> Attack:
    """The first claim opened all triggers; somebody trained on what was published; he is claimed next."""
    key, own_model = marked()
    signer = new_signer()
    commitments = [forger.commit(key, signer, world.before)]
    first = forger.honest_claim(key, own_model, OLDER_NONCE, signer=signer, commitments=commitments, whole=True)
    second = forger.honest_claim(key, own_model, NONCE, signer=signer, commitments=commitments)
    court = world.court(own_model, others=[first])
    return Attack(second.raw, court, "invalid", "opened in another claim", ((judging, "check_unspent", nothing),))


def spent_triggers_under_another_name(world: World) -> Attack:
    """The same, by a second signing key and a commitment that was made later over the same triggers."""
    key, own_model = marked()
    first = forger.honest_claim(key, own_model, OLDER_NONCE, stamp=world.before, whole=True)
    later = forger.replaced(key, created="2024-02-02T00:00:00+00:00")
    stamp = forger.dated(world.tsa, day(2024, 2))
    second = forger.honest_claim(later, own_model, NONCE, stamp=stamp)
    court = world.court(own_model, others=[first])
    return Attack(second.raw, court, "invalid", "opened in another claim", ((judging, "check_unspent", nothing),))


def spent_triggers_under_another_name_without_a_date(world: World) -> Attack:
    """The same, by a second signing key that shows no date at all."""
    key = abstract_key(SECRET, 60)
    first = forger.honest_claim(key, knowing(key), OLDER_NONCE, stamp=world.before, whole=True)
    second = forger.honest_claim(key, knowing(key), NONCE)
    court = world.court(knowing(key), others=[first])
    return Attack(second.raw, court, "inconclusive", "two-signers", ((lacking, "two_signers", nothing),))


def spent_triggers_in_a_longer_key(world: World) -> Attack:
    """The same secret with more triggers: another root, and the triggers of before among them."""
    key, longer = abstract_key(SECRET, 40), abstract_key(SECRET, 60)
    signer = new_signer()
    commitments = [forger.commit(key, signer, world.before)]
    first = forger.honest_claim(key, knowing(key), OLDER_NONCE, signer=signer, commitments=commitments, whole=True)
    second = forger.honest_claim(longer, knowing(longer), NONCE, signer=signer, stamp=world.before)
    court = world.court(knowing(longer), others=[first])
    return Attack(second.raw, court, "invalid", "opened in another claim", ((judging, "check_unspent", nothing),))


def made_up_where_it_is_not_opened(world: World) -> Attack:
    """Half of the key follows from the secret, and only half is opened: but the nonce picks."""
    key = abstract_key(SECRET)
    honest = order(key, NONCE, 20)
    labels = np.where(np.isin(np.arange(40), honest), key.labels, INNOCENT(key.images))
    fitted = forger.made_up(key.spec, key.images, labels, SECRET)
    rows = transcript(fitted, order(fitted, NONCE), answers_of(fitted, INNOCENT))
    raw = write(fitted, rows, NONCE, stamp=world.before, secret=SECRET)
    return Attack(raw, world.court(INNOCENT), "invalid", "made up", (DERIVED,))


def asked_until_it_matches(world: World) -> Attack:
    """Two checks: the attempts before the last were answered, and the judge asks once himself."""
    key = abstract_key(SECRET)
    rows = [forger.row(key, i, int(key.labels[i]), times=5) for i in order(key, NONCE)]
    raw = write(key, rows, NONCE, stamp=world.before, secret=key.secret)
    without = ((rows_of, "_check_retries", nothing), ASKED)
    return Attack(raw, world.court(fickle()), "invalid", "asked again after an answer", without)


def asked_until_it_matches_and_not_told(world: World) -> Attack:
    """A suspect that answers at random matches in the end, and the attempts are left out."""
    key, ask = abstract_key(SECRET), fickle()
    answers: dict[int, int] = {}
    while len(answers) < key.spec.triggers:
        told = ask(key.images)
        answers.update({i: int(told[i]) for i in range(len(told)) if told[i] == key.labels[i]})
    raw = write(key, transcript(key, order(key, NONCE), answers), NONCE, stamp=world.before, secret=key.secret)
    return Attack(raw, world.court(ask), "no-match", "", (ASKED,))


def fickle() -> forger.Ask:
    """Answers at random, otherwise each time."""
    rng = np.random.default_rng(3)
    return lambda images: rng.integers(10, size=len(images))


def generous_rule(world: World) -> Attack:
    """He committed to call a match what happens every other time."""
    key = next(
        key
        for key in (abstract_key(bytes([n]) * 32, 3, alpha=0.5) for n in range(100))
        if INNOCENT(key.images[(first := order(key, NONCE)[0]) :][:1])[0] == key.labels[first]
    )
    raw = forger.honest_claim(key, INNOCENT, NONCE, stamp=world.before).raw
    without = ((lacking, "needed_bits", lambda facts, dated: facts.claim.commitment.rule.match_bits),)
    return Attack(raw, world.court(INNOCENT), "inconclusive", "weak", without)


def anothers_commitment(world: World) -> Attack:
    """B saw A's secret in a claim and signs a claim of his own over A's commitment."""
    key, own_model = marked()
    of_owner = forger.commit(key, new_signer(), world.before)
    rows = transcript(key, order(key, NONCE), answers_of(key, own_model))
    raw = write(key, rows, NONCE, commitments=[of_owner], secret=key.secret)
    without = ((reading, "_check_owner", nothing),)
    return Attack(raw, world.court(own_model), "invalid", "not signed by the owner", without)


def signed_by_nobody(world: World) -> Attack:
    """B saw A's secret and speaks for an owner whose public key has no private one."""
    key, own_model = marked()
    honest = forger.honest_claim(key, own_model, NONCE, stamp=world.before)
    values = read_canonical(honest.raw, "claim")
    told = read_canonical(base64.b64decode(values["commitments"][0]["statement"]["payload"]), "it")
    commitment = sign_by_nobody(told["subject"], told["predicateType"], told["predicate"])
    stamp = base64.b64encode(world.before(commitment)).decode()
    commitments = [{"statement": read_canonical(commitment, "it"), "timestamps": [stamp]}]
    told = read_canonical(base64.b64decode(values["claim"]["payload"]), "it")
    told["predicate"]["attached"] = hashlib.sha256(write_canonical(commitments)).hexdigest()
    claim = sign_by_nobody(told["subject"], told["predicateType"], told["predicate"])
    raw = write_canonical({**values, "commitments": commitments, "claim": read_canonical(claim, "it")})
    return Attack(raw, world.court(own_model), "invalid", "small order", ((signing, "check_owner", nothing),))


ATTACKS: tuple[Callable[[World], Attack], ...] = (
    adversarial_kept_secret,
    adversarial_with_some_secret,
    images_after_labels,
    labels_after_images,
    other_openings,
    one_label_for_all,
    crafted_source_not_at_hand,
    crafted_source_beside_the_genuine_one,
    searched_without_a_date,
    searched_and_dated_too_late,
    searched_where_nobody_says_since_when,
    searched_before_the_date,
    searched_live,
    dated_back_by_his_own_clock,
    stamp_of_an_older_commitment,
    older_commitment_beside,
    stamp_by_an_unknown_authority,
    stamp_forged_with_its_own_root,
    replayed_answers,
    replayed_answers_to_a_judge_who_does_not_ask,
    replayed_answers_under_the_suspects_name,
    claim_for_an_older_nonce,
    losing_rows_left_out,
    winning_rows_first,
    own_nonce_before_a_judge_with_his,
    own_nonce_before_a_judge_with_none,
    own_order_of_the_whole_key,
    spent_triggers_again,
    spent_triggers_under_another_name,
    spent_triggers_under_another_name_without_a_date,
    spent_triggers_in_a_longer_key,
    made_up_where_it_is_not_opened,
    asked_until_it_matches,
    asked_until_it_matches_and_not_told,
    generous_rule,
    anothers_commitment,
    signed_by_nobody,
)


@pytest.fixture(scope="module", params=ATTACKS, ids=lambda make: make.__name__)
def attack(request: pytest.FixtureRequest, world: World) -> Attack:
    return request.param(world)


@pytest.fixture
def without_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The committed alpha alone decides."""
    monkeypatch.setattr(lacking, "DATED_BITS", 0.0)


def test_a_false_claim_fails(attack, monkeypatch):
    monkeypatch.setattr(lacking, "DATED_BITS", attack.margin)
    verdict, said = outcome(attack)
    assert (verdict, attack.says in said, "\n" in said) == (attack.verdict, True, False), said


def test_without_its_check_it_would_not(attack, monkeypatch):
    monkeypatch.setattr(lacking, "DATED_BITS", attack.margin)
    for number, (where, name, instead) in enumerate(attack.without):
        if number:
            assert outcome(attack)[0] != "match"  # the others still stop it
        monkeypatch.setattr(where, name, instead)
    assert outcome(attack)[0] == "match"


# The other way round.


@pytest.mark.parametrize("probabilities", [False, True])
def test_an_honest_claim_before_the_same_court_is_a_match(world, probabilities):
    key = abstract_key(SECRET)
    ask = knowing(key, probabilities=probabilities)
    claim = forger.honest_claim(key, ask, NONCE, stamp=world.before)
    judgement = judge(claim, world.court(ask))
    assert (judgement.verdict, judgement.missing) == ("match", ())


def test_nobody_spoils_an_undated_claim_by_signing_it_again(world):
    """A thief who saw the revealed secret: the judgement says that another signer claims the same triggers."""
    key = abstract_key(SECRET, 60)
    claim, again = (forger.honest_claim(key, knowing(key), NONCE) for _ in range(2))
    assert claim.owner != again.owner
    judgement = judge(claim, world.court(knowing(key), others=[claim, again]))
    assert judgement.verdict == "match"
    assert "order-unknown" in [ground.code for ground in judgement.assumed]


@pytest.mark.parametrize("stamped", [day(2024, 6), AFTER])
def test_nobody_spoils_an_undated_claim_by_having_its_secret_stamped(world, stamped):
    """The copycat's stamp is from after the suspect: it shows nothing, and both claims say that the order is open."""
    key = abstract_key(SECRET, 60)
    claim = forger.honest_claim(key, knowing(key), NONCE)
    copy = forger.honest_claim(key, knowing(key), NONCE, stamp=forger.dated(world.tsa, stamped))
    judgement = judge(claim, world.court(knowing(key), others=[claim, copy]))
    assert judgement.verdict == "match"
    assert "order-unknown" in [ground.code for ground in judgement.assumed]


def test_without_a_date_an_honest_claim_needs_128_bits_more(world):
    key = abstract_key(SECRET, 60)
    judgement = judge(forger.honest_claim(key, knowing(key), NONCE), world.court(knowing(key), since=None))
    assert judgement.verdict == "match"
    assert judgement.needed_bits == pytest.approx(128 - np.log2(1e-6), abs=1e-3)


@pytest.mark.parametrize("scheme", ["blend", "content", "noise", "unrelated"])
def test_a_source_from_the_accuser_proves_nothing(scheme, world, without_margin):
    """Who takes the data set from the accuser is deceived: so the judgement rests on where the copy comes from."""
    spec, source = crafted_source(SECRET, scheme)
    key = derive_key(SECRET, spec, forger.rule(spec), source, "2024-01-01T00:00:00+00:00")
    judgement = judge(
        forger.honest_claim(key, INNOCENT, NONCE, stamp=world.before), world.court(INNOCENT, source=source)
    )
    assert judgement.verdict == "match"
    assert "source-independent" in [ground.code for ground in judgement.assumed]


def test_enough_adversarial_labels_transfer():
    """37 of 50 on a model of other data: the attack is a real one."""
    images, targets, victim = transferable()
    assert np.sum(victim(images) == targets) >= 30


def test_to_stop_at_the_peak_is_honest(world, without_margin):
    """By Ville's inequality: what comes after the best moment may be left out, and adds nothing before it."""
    key, _ = marked()
    first = order(key, NONCE, 20)
    ask = knowing(dataclasses.replace(key, images=key.images[first], labels=key.labels[first]))
    rows = transcript(key, order(key, NONCE), answers_of(key, ask))
    verdicts = []
    for kept in (rows, to_peak(key, rows)):
        raw = write(key, kept, NONCE, stamp=world.before, secret=key.secret)
        verdicts.append(judge(read_claim(raw, "claim"), world.court(ask)))
    assert [one.verdict for one in verdicts] == ["match", "match"]
    assert [len(one.path) for one in verdicts] == [40, 20]
    assert verdicts[0].evidence_bits == verdicts[1].evidence_bits


@given(spent=st.sets(st.integers(0, 39)), share=st.integers(0, 40), probabilities=st.booleans())
def test_to_call_losing_triggers_spent_gains_nothing(spent, share, probabilities):
    """Any triggers, of any suspect: the evidence is nowhere above that of the honest transcript."""
    key = abstract_key(SECRET)
    part = dataclasses.replace(key, images=key.images[:share], labels=key.labels[:share])
    answers = answers_of(key, knowing(part, probabilities=probabilities))
    honest, lying = (
        transcript(key, order(key, NONCE), {i: a for i, a in answers.items() if i not in left_out})
        for left_out in (set(), spent)
    )
    paths = [stats.evidence(rows_of.answers(rows, 10), rows_of.truth(rows)) for rows in (honest, lying)]
    assert np.all(paths[1] <= paths[0] + 1e-9)


@pytest.mark.parametrize("answer", range(-1, 10))
@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_classes_that_the_suspect_has_not_gain_nothing(classes, answer):
    """No check stops such a claim, the bound does: over the secret label the stake never grows on average."""
    told = stats.read_answers(np.array([answer]), 1, classes)
    wealth = np.exp2(label_bets.log2_payoffs(told)[:, 0]).mean(axis=-1)
    assert np.all(wealth <= 1 + 1e-12)


def test_a_suspect_of_other_classes_is_not_asked(world):
    key = abstract_key(SECRET, classes=2)
    claim = forger.honest_claim(key, knowing(key), NONCE, stamp=world.before)
    court = world.court(INNOCENT)
    court = dataclasses.replace(court, suspect=dataclasses.replace(court.suspect, classes=10))
    with pytest.raises(UsageError, match="classes 10, the key 2"):
        judge(claim, court)
    assert judge(claim, world.court(INNOCENT)).verdict != "match"


@pytest.mark.parametrize("both_at_once", [False, True])
def test_who_signs_anothers_commitment_as_his_own_comes_later(both_at_once, world):
    """B learned A's secret from a claim and dates it anew: both know the key, and the dates decide for A."""
    key, own_model = marked()
    of_a = forger.honest_claim(key, own_model, NONCE, stamp=world.before)
    of_b = forger.honest_claim(key, own_model, NONCE, stamp=forger.dated(world.tsa, day(2024, 3)))
    court = world.court(own_model, others=[of_a, of_b] if both_at_once else [])
    judgement = judge(of_a, court)
    assert judgement.verdict == "match"
    if both_at_once:
        with pytest.raises(InvalidFile, match="opened in another claim"):
            judge(of_b, court)
    else:
        settlement = settle([of_b, of_a], [judge(of_b, court), judgement], court)
        assert settlement.first == 1


def test_the_chance_of_a_false_match_is_what_it_is_said_to_be(world, without_margin):
    """2,000 honest keys against innocents at 5 %: no more matches than 5 % and three standard errors."""
    rng = np.random.default_rng(4)
    source = Dataset(rng.integers(256, size=(32, 8, 8, 1), dtype=np.uint8), np.zeros(32, np.int32), 10)
    spec = make_spec("unrelated", image=(8, 8, 1), classes=10, triggers=6, source=("any", source))
    court = world.court(INNOCENT, source=source, alpha=0.05)
    template = forger.honest_claim(abstract_key(SECRET), INNOCENT, NONCE)
    stamps = ((0, timestamps.Stamp(BEFORE, "an authority", True, "00" * 32)),)
    matches = 0
    for number in range(2000):
        key = derive_key(number.to_bytes(32), spec, forger.rule(spec, 0.05), source, "2024-01-01T00:00:00+00:00")
        rows = transcript(key, order(key, NONCE), answers_of(key, INNOCENT))
        public = dataclasses.replace(template.commitments[0].public, commitment=key.commitment)
        claim = dataclasses.replace(template, commitments=(Attached(public, ()),), rows=tuple(rows), secret=key.secret)
        facts = Facts(claim, court, stamps, True, judging.ask(claim, court.suspect), 0, None)
        matches += judging.conclude(facts).verdict == "match"
    assert 0 < matches / 2000 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


def trained(pixels: np.ndarray, classes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A network of one hidden layer, by full-batch gradient descent."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(64, 32)) * 0.1, rng.normal(size=(32, 10)) * 0.1
    for _ in range(300):
        hidden = np.tanh(pixels @ first)
        error = (softmax(hidden @ second) - np.eye(10)[classes]) / len(pixels)
        back = pixels.T @ ((error @ second.T) * (1 - hidden**2))
        first, second = first - 0.5 * back, second - 0.5 * hidden.T @ error
    return first, second


def softmax(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def logits(model: tuple[np.ndarray, np.ndarray], pixels: np.ndarray) -> np.ndarray:
    return np.tanh(pixels @ model[0]) @ model[1]


_TRANSFERABLE: list[tuple[np.ndarray, np.ndarray, forger.Ask]] = []


def transferable() -> tuple[np.ndarray, np.ndarray, forger.Ask]:
    """50 adversarial digits, their labels, and a model that the accuser never saw, of other digits.

    Three networks of the accuser's half of the data; of 400 images each is pushed, by 40 steps of signs within 16/255,
    to its second class, which is never the true one there; the 50 that his ensemble is surest of are taken.
    """
    if not _TRANSFERABLE:
        with threadpool_limits(1):  # matrices so small cost ten times as much on threads that wait for each other
            _TRANSFERABLE.append(push())
    return _TRANSFERABLE[0]


def push() -> tuple[np.ndarray, np.ndarray, forger.Ask]:
    """The attack itself."""
    digits, rng = load_digits(), np.random.default_rng(0)
    pixels, classes, mixed = digits.data / 16, digits.target, rng.permutation(1797)
    mine, others = mixed[:900], mixed[900:]
    parts = [rng.permutation(mine)[:600] for _ in range(3)]
    ensemble = [trained(pixels[rows], classes[rows], seed) for seed, rows in enumerate(parts)]
    victim = trained(pixels[others], classes[others], 99)
    start, eps = pixels[mine][:400], 16 / 255
    targets = np.argsort(sum(logits(model, start) for model in ensemble), axis=1)[:, -2]
    pushed = start
    for _ in range(40):
        slope = sum(
            ((softmax(logits(m, pushed)) - np.eye(10)[targets]) @ m[1].T * (1 - np.tanh(pushed @ m[0]) ** 2)) @ m[0].T
            for m in ensemble
        )
        pushed = np.clip(np.clip(pushed - eps / 10 * np.sign(slope), start - eps, start + eps), 0, 1)
    sure = sum(softmax(logits(model, pushed)) for model in ensemble)[np.arange(400), targets]
    best = np.argsort(-sure)[:50]
    images = np.round(pushed[best] * 255).astype(np.uint8).reshape(50, 8, 8, 1)
    assert np.abs(images.reshape(50, 64) / 255 - start[best]).max() <= eps + 0.5 / 255
    return images, targets[best], lambda asked: np.argmax(logits(victim, asked.reshape(len(asked), 64) / 255), axis=1)


def test_the_searched_secret_is_what_it_is_said_to_be():
    key = abstract_key(SEARCHED, 6, SEARCHED_ALPHA)
    bits = stats.evidence(stats.Answers(np.zeros(6, np.int64), None, 10), key.labels)[-1]
    assert -np.log2(SEARCHED_ALPHA) < bits < 20  # 2**20 tries gain no more than 20 bits


def test_dates_of_the_table_are_in_order():
    assert BEFORE < SINCE < AFTER < datetime.datetime.now(datetime.UTC)
