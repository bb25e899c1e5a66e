"""wmjax proves whose a neural network is.

A secret key becomes a trigger set; training mixes it in; later a suspect model is asked about it through its
ordinary prediction interface, and exact evidence says whether it knows the key. JAX is imported only by the names
that need it.

>>> import wmjax
>>> spec = wmjax.make_spec("abstract", image=(8, 8, 1), classes=10, triggers=20)
>>> wmjax.generate(spec).images.shape
(20, 8, 8, 1)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors, which see no `__getattr__`; the same names as in `_HOME`
    from wmjax.attacks.result import AttackResult as AttackResult
    from wmjax.attacks.run import attack as attack
    from wmjax.data import Dataset as Dataset
    from wmjax.data import Examples as Examples
    from wmjax.data import Splits as Splits
    from wmjax.data import load as load
    from wmjax.data import open_splits as open_splits
    from wmjax.errors import AccessError as AccessError
    from wmjax.errors import AnswerError as AnswerError
    from wmjax.errors import InvalidFile as InvalidFile
    from wmjax.errors import UsageError as UsageError
    from wmjax.errors import WmjaxError as WmjaxError
    from wmjax.evidence.authority import Authority as Authority
    from wmjax.evidence.authority import read_authority as read_authority
    from wmjax.evidence.claim import Attached as Attached
    from wmjax.evidence.claim import Claim as Claim
    from wmjax.evidence.claim_file import attach as attach
    from wmjax.evidence.claim_file import read_claim as read_claim
    from wmjax.evidence.claimant import claim as claim
    from wmjax.evidence.conflict import settle as settle
    from wmjax.evidence.facts import Court as Court
    from wmjax.evidence.facts import Lack as Lack
    from wmjax.evidence.hearing import Hearing as Hearing
    from wmjax.evidence.hearing import hear as hear
    from wmjax.evidence.judge import judge as judge
    from wmjax.evidence.judgement import Judgement as Judgement
    from wmjax.evidence.judgement import Refused as Refused
    from wmjax.evidence.judgement import Settlement as Settlement
    from wmjax.evidence.release import Release as Release
    from wmjax.evidence.release import read_release as read_release
    from wmjax.grounds import Ground as Ground
    from wmjax.keys import Commitment as Commitment
    from wmjax.keys import Input as Input
    from wmjax.keys import Key as Key
    from wmjax.keys import Paper as Paper
    from wmjax.keys import Signer as Signer
    from wmjax.keys import Spec as Spec
    from wmjax.keys import Unlock as Unlock
    from wmjax.keys import generate as generate
    from wmjax.keys import make_spec as make_spec
    from wmjax.keys import open_key as open_key
    from wmjax.keys import open_keys as open_keys
    from wmjax.keys import open_signer as open_signer
    from wmjax.keys import read_commitment as read_commitment
    from wmjax.keys import spend as spend
    from wmjax.keys import write_key as write_key
    from wmjax.keys.material import Material as Material
    from wmjax.keys.memory import Memory as Memory
    from wmjax.models import Config as Config
    from wmjax.models import Variables as Variables
    from wmjax.models import default_config as default_config
    from wmjax.stats import Answers as Answers
    from wmjax.stats import Rule as Rule
    from wmjax.stats import spread_top_k as spread_top_k
    from wmjax.suspects import Suspect as Suspect
    from wmjax.suspects import Wanted as Wanted
    from wmjax.suspects import from_callable as from_callable
    from wmjax.suspects import from_checkpoint as from_checkpoint
    from wmjax.suspects import open_suspect as open_suspect
    from wmjax.suspects.stored import export as export
    from wmjax.train import Batch as Batch
    from wmjax.train import DeviceMapping as DeviceMapping
    from wmjax.train import Recipe as Recipe
    from wmjax.train import Report as Report
    from wmjax.train import Shift as Shift
    from wmjax.train import State as State
    from wmjax.train import Teacher as Teacher
    from wmjax.train import all_devices as all_devices
    from wmjax.train import default_recipe as default_recipe
    from wmjax.train import embed as embed
    from wmjax.train import first_state as first_state
    from wmjax.train import fit as fit
    from wmjax.train import key_batch as key_batch
    from wmjax.train import shift_of as shift_of
    from wmjax.train import shifted_targets as shifted_targets
    from wmjax.train import spread_key as spread_key
    from wmjax.train.mix import mix as mix
    from wmjax.verification import Combined as Combined
    from wmjax.verification import Verdict as Verdict
    from wmjax.verification import combine as combine
    from wmjax.verification import verify as verify
    from wmjax.zoo.audit import audit as audit
    from wmjax.zoo.merge import merge as merge
    from wmjax.zoo.pack import PackReport as PackReport
    from wmjax.zoo.pack import pack as pack
    from wmjax.zoo.records import Unreadable as Unreadable
    from wmjax.zoo.result import AuditResult as AuditResult

    __version__: str

_HOME = {
    "AccessError": "wmjax.errors",
    "AnswerError": "wmjax.errors",
    "Answers": "wmjax.stats",
    "Attached": "wmjax.evidence.claim",
    "AttackResult": "wmjax.attacks.result",
    "AuditResult": "wmjax.zoo.result",
    "Authority": "wmjax.evidence.authority",
    "Batch": "wmjax.train",
    "Claim": "wmjax.evidence.claim",
    "Combined": "wmjax.verification",
    "Commitment": "wmjax.keys",
    "Config": "wmjax.models",
    "Court": "wmjax.evidence.facts",
    "Dataset": "wmjax.data",
    "DeviceMapping": "wmjax.train",
    "Examples": "wmjax.data",
    "Ground": "wmjax.grounds",
    "Hearing": "wmjax.evidence.hearing",
    "Input": "wmjax.keys",
    "InvalidFile": "wmjax.errors",
    "Judgement": "wmjax.evidence.judgement",
    "Key": "wmjax.keys",
    "Lack": "wmjax.evidence.facts",
    "Material": "wmjax.keys.material",
    "Memory": "wmjax.keys.memory",
    "PackReport": "wmjax.zoo.pack",
    "Paper": "wmjax.keys",
    "Recipe": "wmjax.train",
    "Refused": "wmjax.evidence.judgement",
    "Release": "wmjax.evidence.release",
    "Report": "wmjax.train",
    "Rule": "wmjax.stats",
    "Settlement": "wmjax.evidence.judgement",
    "Shift": "wmjax.train",
    "Signer": "wmjax.keys",
    "Spec": "wmjax.keys",
    "Splits": "wmjax.data",
    "State": "wmjax.train",
    "Suspect": "wmjax.suspects",
    "Teacher": "wmjax.train",
    "Unlock": "wmjax.keys",
    "Unreadable": "wmjax.zoo.records",
    "UsageError": "wmjax.errors",
    "Variables": "wmjax.models",
    "Verdict": "wmjax.verification",
    "Wanted": "wmjax.suspects",
    "WmjaxError": "wmjax.errors",
    "all_devices": "wmjax.train",
    "attach": "wmjax.evidence.claim_file",
    "attack": "wmjax.attacks.run",
    "audit": "wmjax.zoo.audit",
    "claim": "wmjax.evidence.claimant",
    "combine": "wmjax.verification",
    "default_config": "wmjax.models",
    "default_recipe": "wmjax.train",
    "embed": "wmjax.train",
    "export": "wmjax.suspects.stored",
    "first_state": "wmjax.train",
    "fit": "wmjax.train",
    "from_callable": "wmjax.suspects",
    "from_checkpoint": "wmjax.suspects",
    "generate": "wmjax.keys",
    "hear": "wmjax.evidence.hearing",
    "judge": "wmjax.evidence.judge",
    "key_batch": "wmjax.train",
    "load": "wmjax.data",
    "make_spec": "wmjax.keys",
    "merge": "wmjax.zoo.merge",
    "mix": "wmjax.train.mix",
    "open_key": "wmjax.keys",
    "open_keys": "wmjax.keys",
    "open_signer": "wmjax.keys",
    "open_splits": "wmjax.data",
    "open_suspect": "wmjax.suspects",
    "pack": "wmjax.zoo.pack",
    "read_authority": "wmjax.evidence.authority",
    "read_claim": "wmjax.evidence.claim_file",
    "read_commitment": "wmjax.keys",
    "read_release": "wmjax.evidence.release",
    "settle": "wmjax.evidence.conflict",
    "shift_of": "wmjax.train",
    "shifted_targets": "wmjax.train",
    "spend": "wmjax.keys",
    "spread_key": "wmjax.train",
    "spread_top_k": "wmjax.stats",
    "verify": "wmjax.verification",
    "write_key": "wmjax.keys",
}

__all__ = sorted(_HOME)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, "__version__"})


if not TYPE_CHECKING:  # to a type checker it would mean that every name exists

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return importlib.import_module("importlib.metadata").version("wmjax")
        if name not in _HOME:
            raise AttributeError(f"module 'wmjax' has no attribute {name!r}")
        return getattr(importlib.import_module(_HOME[name]), name)
