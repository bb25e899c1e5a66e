"""The derivation standard `wmjax/v1`: how every byte of a key follows from its secret.

A *secret* is 32 bytes. `stream(secret, purpose, index)` is the output of SHAKE-256 (FIPS 202), as long as needed, on

    be32(8) "wmjax/v1"  be32(len(purpose)) purpose  be64(index)  be32(32) secret

with `be32`/`be64` unsigned big-endian integers and `purpose` ASCII. Three ways of reading it, all in integers:

* `octets(n)`: the next n bytes.
* `integers(bound, n)`: n numbers uniform in [0, bound), 1 <= bound <= 2**32. Read 8 bytes as a big-endian number u; if
  u >= 2**64 - 2**64 mod bound, drop it and read the next 8; otherwise u mod bound is the number.
* `distinct(bound, n)`: integers(bound, 1) again and again; the first n different ones, in the order of their coming.

Nothing here may ever change: `evidence/vectors/keys.v1.json` holds frozen vectors. (`numpy.random` and `jax.random` do
not promise their streams across versions.)

The streams of a key of n triggers:

| purpose        | index | gives                                                             |
|----------------|-------|-------------------------------------------------------------------|
| `label`        | i     | label i of the `random` policy: integers(classes, 1)              |
| `target`       | 0     | the one label of the `fixed` policy: integers(classes, 1)         |
| `salt`         | i     | octets(16), the salt of Merkle leaf i                             |
| `image/SCHEME` | i     | what is picture i's own, as the scheme's module says              |
| `rows/SCHEME`  | 0     | which source images are taken: distinct(candidates, triggers)     |
| `mark/SCHEME`  | 0     | what all pictures of a key share, as the scheme's module says     |
| `features`     | 0     | a `spread` key's rotation, as `wmjax.train.spread` says           |
| `classes`      | 0     | order of a `spread` key's C classes: distinct(C, C)               |
| `coin/DIGEST`  | i     | coin i of a `tie` key: integers(2, 1); of a `spread` key all, index 0 |
| `decoy`        | i     | octets(32), the secret of decoy key i in a calibration            |
| `journal`      | 0     | octets(32), this key's part of the secret of an audit's journal   |
| `redraw`       | 0     | integers(2**32, 4), seed of NumPy's generator for decoy labels    |
| `interleave`   | 0     | integers(2**32, 4), seed of NumPy's order of a key and its decoys |

Four more streams, all of index 0, are of other 32 bytes than a key's secret. A verification's seed is SHA-256(secret ||
its nonce); DIGEST is SHA-256, in hex, of the signature in a pledge's time stamp:

| purpose         | its 32 bytes                                            | gives                                   |
|-----------------|---------------------------------------------------------|-----------------------------------------|
| `pledge/DIGEST` | the pledge's base                                       | octets(32), a pledged key's secret      |
| `order`         | a verification's seed                                   | when triggers come: distinct(n, n)      |
| `cover`         | a verification's seed                                   | where covers come, as `draw_order` says |
| `pick`          | SHA-256(commitment id (32 bytes) || challenger's nonce) | what a claim asks: distinct(n, ...)     |
"""

import hashlib

import numpy as np

DOMAIN = b"wmjax/v1"
SECRET_BYTES = 32


class Stream:
    """The bytes of one (secret, purpose, index), read front to back.

    >>> Stream(bytes(32), "label", 0).integers(10, 5).tolist()
    [5, 0, 7, 0, 7]

    Args:
      secret: 32 bytes.
      purpose: ASCII name of what the bytes are for.
      index: number of the trigger, or 0.
    """

    def __init__(self, secret: bytes, purpose: str, index: int):
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"a secret has {SECRET_BYTES} bytes, not {len(secret)}")
        name = purpose.encode("ascii")
        parts = (len(DOMAIN).to_bytes(4), DOMAIN, len(name).to_bytes(4), name, index.to_bytes(8))
        self._shake = hashlib.shake_256(b"".join((*parts, len(secret).to_bytes(4), secret)))
        self._squeezed = b""
        self._position = 0

    def octets(self, count: int) -> np.ndarray:
        """The next `count` bytes, uint8 [count]."""
        end = self._position + count
        if end > len(self._squeezed):  # SHAKE is squeezed from its start each time: double to stay linear
            self._squeezed = self._shake.digest(max(end, 2 * len(self._squeezed)))
        out = np.frombuffer(self._squeezed, np.uint8, count, self._position)
        self._position = end
        return out

    def integers(self, bound: int, count: int) -> np.ndarray:
        """The next `count` numbers uniform in [0, bound), int64 [count]; `bound` at most 2**32."""
        if not 1 <= bound <= 2**32:
            raise ValueError(f"bound {bound} is outside 1..2**32")
        last = 2**64 - 2**64 % bound - 1  # the largest word that is kept
        kept: list[np.ndarray] = []
        while missing := count - sum(map(len, kept)):
            words = self.octets(8 * missing).view(">u8")
            kept.append((words[words <= last] % np.uint64(bound)).astype(np.int64))
        return np.concatenate(kept) if kept else np.empty(0, np.int64)

    def distinct(self, bound: int, count: int) -> np.ndarray:
        """The next `count` different numbers in [0, bound), int64 [count]."""
        if count > bound:
            raise ValueError(f"{count} different numbers below {bound}")
        seen: dict[int, None] = {}
        while len(seen) < count:  # as many as are missing: more could be read than are needed otherwise
            seen.update(dict.fromkeys(self.integers(bound, count - len(seen)).tolist()))
        return np.array(list(seen), np.int64)
