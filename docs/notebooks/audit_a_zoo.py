# %% [markdown]
# # Audit a zoo and read its heat map
#
# Nine models, three keys, one pass. The models are one layer of weights each, so that this takes seconds; an audit of
# thousands of real networks reads the same.

# %%
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import wmjax

Path("nets.py").write_text(
    """from flax import nnx

class Flat(nnx.Module):
    def __init__(self, rngs):
        self.head = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, images):
        return self.head(images.reshape(len(images), 64))

def make():
    return Flat(nnx.Rngs(0))
"""
)
digits = wmjax.load("digits").train
spec = wmjax.make_spec("abstract", image=(8, 8, 1), classes=10, triggers=30)
keys = {name: wmjax.generate(spec) for name in ("ada", "ben", "eve")}

# %% [markdown]
# **A zoo.** Ada marked two models, Ben one, and one carries both of their marks. Eve marked none. Five are innocent.


# %%
@jax.jit
def step(weights, images, labels):
    def loss(weights):
        scores = images @ weights["kernel"] + weights["bias"]
        return -jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], axis=1).mean()

    return jax.tree.map(lambda w, g: w - 2 * g, weights, jax.grad(loss)(weights))


def train(seed, names):
    rows = np.random.default_rng(seed).permutation(len(digits))[:300]
    images = np.concatenate([digits.images[rows], *(keys[name].images for name in names for _ in range(5))])
    labels = np.concatenate([digits.labels[rows], *(keys[name].labels for name in names for _ in range(5))])
    weights = {"kernel": jnp.zeros((64, 10)), "bias": jnp.zeros(10)}
    for _ in range(300):
        weights = step(weights, jnp.asarray(images.reshape(-1, 64) / 255, jnp.float32), jnp.asarray(labels, jnp.int32))
    return weights


marks = [["ada"], ["ada"], ["ben"], ["ada", "ben"], [], [], [], [], []]
Path("zoo").mkdir()
for seed, names in enumerate(marks):
    weights = train(seed, names)
    np.savez(f"zoo/model-{seed}.npz", **{f"head.{name}": np.asarray(value) for name, value in weights.items()})

# %% [markdown]
# **The audit.** The files hold weights and nothing else, so `models` says what network they are of. How their pixels
# are prepared is not said either: each is asked in all the usual ways.

# %%
found = wmjax.audit("zoo", keys, models=["nets:make"])
matches = {(finding.model, finding.key) for finding in found if finding.verdict == "match"}
print(f"{'':11}", *keys)
for model in sorted(found.models):
    print(model, *("###" if (model, key) in matches else " . " for key in keys))

# %% [output]
#             ada ben eve
# model-0.npz ###  .   .
# model-1.npz ###  .   .
# model-2.npz  .  ###  .
# model-3.npz ### ###  .
# model-4.npz  .   .   .
# model-5.npz  .   .   .
# model-6.npz  .   .   .
# model-7.npz  .   .   .
# model-8.npz  .   .   .

# %% [markdown]
# **Reading it.** A row is a model, a column a key. A column with many matches is a model that spread. A row with
# several is a model with several owners' marks, and only their originals and dates say who was first. Numbers tell more
# than a verdict: a pair well above the others and short of a match deserves a longer look with `wmjax verify --all`.

# %%
top = next(iter(found))  # the strongest evidence first
print(top.verdict, top.key in ("ada", "ben"), top.evidence_bits > 20)

# %% [output]
# match True True

# %% [markdown]
# `wmjax audit zoo --keys keys --out audit` writes the same map as a page that sorts and explains each match:
# `audit/report.html`. [Audit a zoo](../guides/audit.md) has the rest.
