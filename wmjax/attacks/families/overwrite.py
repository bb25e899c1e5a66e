"""Overwriting: the thief fine-tunes a mark of their own into the network, hoping that it drives out the owner's."""

import hashlib

from wmjax.attacks.contract import Attack, Attacked, Stolen, Thief
from wmjax.attacks.families.finetune import tune
from wmjax.keys import make_spec
from wmjax.keys.keyset import derive_key
from wmjax.keys.specify import default_rule

TRIGGERS = 100


def overwrite(stolen: Stolen, thief: Thief) -> Attacked:
    """Fine-tunes at the learning rate `strength` with a key of the thief's own mixed in."""
    spec = make_spec("abstract", image=stolen.config.image, classes=stolen.config.classes, triggers=TRIGGERS)
    own = derive_key(hashlib.sha256(b"a thief's own key").digest(), spec, default_rule(spec))  # no secret: it is theirs
    tuned = tune(
        stolen.config,
        stolen.variables,
        thief.owned(),
        thief.tuning(),
        stolen.seeds,
        stolen.strengths,
        keys=[own],
        title="overwriting",
    )
    return Attacked(stolen.config, tuned)


ATTACKS = (
    Attack(
        "overwrite",
        "has the weights, labelled images of the task and a key of their own, of scheme abstract whatever the owner's, "
        "which they mix in while training on",
        "learning rate",
        (0.03,),
        (0.003, 0.01, 0.03, 0.1),
        frozenset({"images"}),
        overwrite,
    ),
)
