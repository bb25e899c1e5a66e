"""False claims by whoever signs: spent triggers under other names, keys of nobody, openings that no secret gave."""

import base64
import hashlib

import forger
import numpy as np
from accuser import DERIVED, INNOCENT, NONCE, OLDER_NONCE, SECRET, Attack, World, nothing
from false_transcripts import marked
from forger import abstract_key, answers_of, knowing, order, sign_by_nobody, transcript, write

from wmjax.canonical import read_canonical, write_canonical
from wmjax.evidence import judge as judging
from wmjax.evidence import lacks as lacking
from wmjax.keys import new_signer, signing


def spent_triggers_under_another_name_without_a_date(world: World) -> Attack:
    """A second signing key that shows no date at all, after the first claim opened everything."""
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


def made_up_where_nobody_would_look(world: World) -> Attack:
    """Half of the key follows from the secret, so that some openings are honest: but the nonce picks others too."""
    key = abstract_key(SECRET)
    honest = order(key, NONCE, 20)
    labels = np.where(np.isin(np.arange(40), honest), key.labels, INNOCENT(key.images))
    fitted = forger.made_up(key.spec, key.images, labels, SECRET)
    rows = transcript(fitted, order(fitted, NONCE), answers_of(fitted, INNOCENT))
    raw = write(fitted, rows, NONCE, stamp=world.before, secret=SECRET)
    return Attack(raw, world.court(INNOCENT), "invalid", "made up", (DERIVED,))


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


ATTACKS = (
    spent_triggers_under_another_name_without_a_date,
    spent_triggers_in_a_longer_key,
    made_up_where_nobody_would_look,
    signed_by_nobody,
)
