"""False claims by the transcript: answers that are not this suspect's, or not whole."""

import dataclasses

import forger
import numpy as np
from accuser import ASKED, INNOCENT, NONCE, NONCED, OLDER_NONCE, PICKED, SECRET, Attack, World, nothing
from forger import abstract_key, answers_of, day, knowing, order, transcript, write

from wmjax.evidence import claim_file as reading
from wmjax.evidence import judge as judging
from wmjax.evidence import lacks as lacking
from wmjax.evidence import transcript as rows_of
from wmjax.keys import Key, Model, new_signer

# Transcripts that are not this suspect's, or not whole.


def marked() -> tuple[Key, forger.Ask]:
    """An honest key, and the owner's own model."""
    key = abstract_key(SECRET)
    return key, knowing(key)


def replayed_answers(world: World) -> Attack:
    """The answers of the accuser's own model, presented as the suspect's; or a claim on A, before a judge of B."""
    key, own_model = marked()
    raw = forger.honest_claim(key, own_model, NONCE, stamp=world.before).raw
    return Attack(raw, world.court(INNOCENT), "inconclusive", "forgetful", (ASKED,))


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
    return Attack(raw, world.court(ask), "inconclusive", "forgetful", (ASKED,))


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
