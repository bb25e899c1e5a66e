# %% [markdown]
# # Mark and verify, in 40 lines
#
# An owner marks a network, an innocent trains alone, and both are asked. It takes half a minute on two cores.

# %%
import dataclasses
from pathlib import Path

import wmjax
from wmjax.models import predict

digits = wmjax.load("digits")
config = wmjax.default_config("vgg", digits.train.image, digits.train.classes)
recipe = dataclasses.replace(wmjax.default_recipe(config), epochs=12, key_per_batch=16)

# %% [markdown]
# **A key.** Forty pictures and their labels follow from one secret. It is written, sealed, before anything is trained:
# a key that exists in memory alone is lost with the process. The file `my.commitment.json` is the one to publish.

# %%
key = wmjax.generate(wmjax.make_spec("abstract", image=config.image, classes=config.classes, triggers=40))
for path in wmjax.write_key(key, "my"):
    print(path)

# %% [output]
# my.age
# my.commitment.json
# my.signer.pem
# my.identity

# %% [markdown]
# **Two networks.** The first learns the key along with the digits.

# %%
mine, others = digits.train[::2], digits.train[1::2]
marked = wmjax.fit(config, recipe, mine, [key])
innocent = wmjax.fit(config, dataclasses.replace(recipe, seed=1), others)

# %% [markdown]
# **Ask.** Only the predictions of a suspect are needed, so any function of pictures will do.

# %%
opened = wmjax.open_key("my.age", wmjax.Unlock(identity=Path("my.identity").read_text()))


def verdict(variables):
    suspect = wmjax.from_callable(lambda images: predict(config, variables, images))
    return wmjax.verify(suspect, opened)


for name, variables in {"marked": marked, "innocent": innocent}.items():
    found = verdict(variables)
    print(f"{name}: {'a match' if found.verdict == 'match' else 'not a match'}")

# %% [output]
# marked: a match
# innocent: not a match

# %% [markdown]
# A `match` stopped as soon as the evidence passed 20 bits. The innocent is a `no-match`, or `inconclusive` if forty
# questions were too few to clear it; see [Three answers](../concepts/three-answers.md).
