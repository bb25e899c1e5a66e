"""Evidence a stranger can check: signed commitments, claims, time stamps, and the judge. No JAX in here.

A key's owner claims a suspect, and a judge who drew the nonce checks the claim and asks the suspect again:

>>> import wmjax
>>> from wmjax.evidence.claim import Attached
>>> from wmjax.keys import new_signer, sign_commitment
>>> from wmjax.keys.statement import parse_commitment
>>> key = wmjax.generate(wmjax.make_spec("abstract", image=(8, 8, 1), classes=10, triggers=60))
>>> signer, nonce = new_signer(), bytes(32)
>>> commitment = Attached(parse_commitment(sign_commitment(key.commitment, signer), "commitment"), tokens=())
>>> known = dict(zip(map(bytes, key.images), key.labels))
>>> suspect = wmjax.from_callable(lambda images: [known[bytes(image)] for image in images])
>>> raw = wmjax.claim(suspect, key, signer, [commitment], nonce, spend=lambda asked: None, reveal=True)
>>> wmjax.judge(wmjax.read_claim(raw), wmjax.Court(nonce=nonce, suspect=suspect)).verdict
'match'
>>> wmjax.hear([wmjax.read_claim(raw)], wmjax.Court(nonce, suspect)).outcome
'match'
>>> [lack.code for lack in wmjax.judge(wmjax.read_claim(raw)).missing]
[<Lack.UNPICKED: 'unpicked'>, <Lack.UNASKED: 'unasked'>]
"""
