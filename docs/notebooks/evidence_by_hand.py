# %% [markdown]
# # Evidence by hand, in NumPy
#
# A gambler bets on secret labels with a suspect's answers. [Evidence, for a statistician](../concepts/evidence.md) says
# why that is a fair game for every model that does not know the key. Here it is played, a hundred thousand times.

# %%
import numpy as np

C, N, GAMES = 10, 40, 100_000  # classes, questions, models
HEDGES = (0.01, 0.05, 0.2, 0.5, 0.8, 0.95)  # shares of the stake that are spread over all classes
rng = np.random.default_rng(0)


def bits(answers, labels):
    """Evidence after each answer: log2 of the mean wealth of six gamblers."""
    hits = answers == labels
    wealths = [np.where(hits, (1 - hedge) * C + hedge, hedge) for hedge in HEDGES]
    return np.log2(np.mean([np.cumprod(wealth, axis=-1) for wealth in wealths], axis=0))


# %% [markdown]
# **A copy** that knows every label gets 3.3 bits an answer. Seven answers pass 20 bits.

# %%
labels = rng.integers(C, size=N)
print(np.round(bits(labels, labels)[:7], 1))

# %% [output]
# [ 2.6  5.6  8.8 11.9 15.1 18.4 21.6]

# %% [markdown]
# **A worn copy** that kept six labels of ten takes longer, and gets there.

# %%
worn = np.where(rng.random(N) < 0.6, labels, rng.integers(C, size=N))
print(int(np.argmax(bits(worn, labels) > 20)) + 1, "questions")

# %% [output]
# 25 questions

# %% [markdown]
# **Strangers** may answer as they like: always the same class, or at random. The chance that their evidence *ever*
# passes *b* bits is at most 2⁻ᵇ. Count.

# %%
for name, answers in {"one class": np.zeros((1, N), int), "at random": rng.integers(C, size=(GAMES, N))}.items():
    peaks = bits(answers, rng.integers(C, size=(GAMES, N))).max(axis=1)
    print(name, *(f"{b} bits: {np.mean(peaks >= b):.5f} of at most {2.0**-b:.5f}" for b in (3, 6, 9)), sep="\n  ")

# %% [output]
# one class
#   3 bits: 0.02965 of at most 0.12500
#   6 bits: 0.00357 of at most 0.01562
#   9 bits: 0.00041 of at most 0.00195
# at random
#   3 bits: 0.02945 of at most 0.12500
#   6 bits: 0.00340 of at most 0.01562
#   9 bits: 0.00033 of at most 0.00195

# %% [markdown]
# The bound holds for both, and for every other stranger: nothing about the answers was used. wmjax adds bets on
# probabilities and on renamed classes in the same way.
