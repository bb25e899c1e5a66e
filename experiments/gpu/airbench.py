"""A small network that learns CIFAR-10 in seconds, as pure functions of plain dictionaries, with room for a key.

The architecture, the augmentation and every number in `Recipe` are those of airbench94 (Jordan 2024, arXiv 2404.00498,
building on Page 2019 and on hlb-CIFAR10), written anew in JAX; `speed_recipe.py` trains and times it. The key goes in
through `wmjax.mix`, as in any training loop: some rows of each batch, neither augmented nor label-smoothed.
"""

import dataclasses
import itertools
import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

import wmjax
from wmjax.kernels.conv import conv, max_pool

MEAN, DEVIATION = (
    (0.4914, 0.4822, 0.4465),
    (0.2470, 0.2435, 0.2616),
)  # of CIFAR-10's training images, channel by channel
FLOOR = 5e-4  # added to the patches' variances: directions with less than this are noise


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the network is trained; hashable, so that it is a static argument of `jax.jit`.

    Attributes:
      epochs: passes over the training split; a broken number ends within an epoch.
      batch: rows of a step, triggers included.
      widths: channels of the three groups of two convolutions.
      learning_rate: peak, per 1024 examples whatever the momentum is.
      momentum: Nesterov's.
      weight_decay: per 1024 examples, whatever the learning rate is.
      bias_scale: batch-norm biases learn this much faster.
      smoothing: share of a real label that is spread over all classes.
      stem_epochs: how long the bias of the whitening layer is trained.
      norm_rate: how fast batch norm's running averages follow.
      lookahead: steps between two pulls towards the slow weights.
      shift: pixels that an image is moved at most.
      key_per_batch: triggers in each batch of a marked run.
      half: compute in bfloat16; weights, batch statistics, whitening and loss stay float32.
    """

    epochs: float = 9.9
    batch: int = 1024
    widths: tuple[int, int, int] = (64, 256, 256)
    learning_rate: float = 11.5
    momentum: float = 0.85
    weight_decay: float = 0.0153
    bias_scale: float = 64.0
    smoothing: float = 0.2
    stem_epochs: int = 3
    norm_rate: float = 0.4
    lookahead: int = 5
    shift: int = 2
    key_per_batch: int = 16
    half: bool = True


class Net(NamedTuple):
    """The network's numbers, float32.

    Attributes:
      params: `stem` bias [24], six `kernels` HWIO, six batch-norm `biases`, `head` [channels, classes].
      stats: six batch-norm `means` and `variances`.
      whiten: kernel of the frozen first layer [2, 2, 3, 24].
    """

    params: dict[str, Any]
    stats: dict[str, Any]
    whiten: Array


class State(NamedTuple):
    """All that a step changes: the network, the optimiser's momentum, the slow weights and statistics, steps taken."""

    net: Net
    momentum: dict[str, Any]
    slow: tuple[dict[str, Any], dict[str, Any]]
    step: Array


def normalised(images: Array) -> Array:
    """Pixels as float32 of about zero mean and unit variance."""
    mean, deviation = (jnp.array(values).reshape(1, 1, 1, 3) for values in (MEAN, DEVIATION))
    return (images.astype(jnp.float32) / 255.0 - mean) / deviation


def whitening(images: Array) -> Array:
    """The kernel [2, 2, C, 8C] whose outputs on 2x2 patches are uncorrelated and of unit power, and its negative."""
    scaled, (height, width) = normalised(images), images.shape[1:3]
    corners = [scaled[:, i : height - 1 + i, j : width - 1 + j] for i in (0, 1) for j in (0, 1)]
    rows = jnp.concatenate(corners, axis=-1).reshape(-1, 4 * images.shape[-1])
    power = jnp.matmul(rows.T, rows, precision="highest") / rows.shape[0]
    values, vectors = jnp.linalg.eigh(power)
    kernel = (vectors / jnp.sqrt(values + FLOOR)[None, :])[:, ::-1]  # the strongest first: narrow groups pass those on
    kernel = kernel.reshape(2, 2, images.shape[-1], -1)
    return jnp.concatenate([kernel, -kernel], axis=-1)


def _identity_or_random(key: Array, inputs: int, outputs: int) -> Array:
    """A 3x3 kernel whose first outputs repeat the inputs; those beyond are uniform noise."""
    bound = 1 / math.sqrt(9 * inputs)
    noise = jax.random.uniform(key, (3, 3, inputs, outputs), minval=-bound, maxval=bound)
    identity = jnp.zeros(noise.shape).at[1, 1].set(jnp.eye(inputs, outputs))
    return jnp.where((jnp.arange(outputs) < inputs)[None, None, None, :], identity, noise)


@partial(jax.jit, static_argnums=(0, 3))
def start(recipe: Recipe, images: Array, seed: Array | int, classes: int = 10) -> State:
    """The state before the first step; `images`, uint8, are those that the whitening is computed from."""
    keys = jax.random.split(jax.random.key(seed), 7)
    whiten = whitening(images)
    first, second, third = recipe.widths
    sizes = [whiten.shape[-1], first, first, second, second, third, third]
    pairs = list(itertools.pairwise(sizes))
    bound = 1 / math.sqrt(third)
    params = {
        "stem": jnp.zeros(sizes[0]),
        "kernels": [_identity_or_random(key, *pair) for key, pair in zip(keys[:6], pairs, strict=True)],
        "biases": [jnp.zeros(outputs) for _, outputs in pairs],
        "head": jax.random.uniform(keys[6], (third, classes), minval=-bound, maxval=bound),
    }
    stats = {
        "means": [jnp.zeros(outputs) for _, outputs in pairs],
        "variances": [jnp.ones(outputs) for _, outputs in pairs],
    }
    copy = partial(jax.tree.map, jnp.copy)  # buffers of their own: the state is donated
    return State(Net(params, stats, whiten), jax.tree.map(jnp.zeros_like, params), copy((params, stats)), jnp.int32(0))


def _norm(x: Array, bias: Array, mean: Array, variance: Array, train: bool) -> tuple[Array, Array, Array]:
    """Batch norm with a bias and no scale, in float32; and the moments it used."""
    wide = x.astype(jnp.float32)
    if train:
        mean = wide.mean((0, 1, 2))
        variance = jnp.maximum((wide * wide).mean((0, 1, 2)) - mean * mean, 0.0)
    row = lambda values: values[None, None, None, :]  # noqa: E731
    out = (wide - row(mean)) * row(lax.rsqrt(variance + 1e-12)) + row(bias)
    return out.astype(x.dtype), mean, variance


def forward(
    recipe: Recipe, net: Net, images: Array, *, train: bool = False, frozen: bool = True
) -> tuple[Array, dict[str, Any]]:
    """Logits float32 [N, classes] of uint8 images, and the running averages (moved where `train` is set)."""
    gelu = partial(jax.nn.gelu, approximate=False)
    dtype = jnp.bfloat16 if recipe.half else jnp.float32
    x = lax.conv_general_dilated(
        normalised(images), net.whiten, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    x = gelu((x + net.params["stem"][None, None, None, :]).astype(dtype))
    x = lax.stop_gradient(x) if frozen else x
    means, variances = [], []
    old = zip(net.stats["means"], net.stats["variances"], strict=True)
    for layer, (kernel, bias, moments) in enumerate(zip(net.params["kernels"], net.params["biases"], old, strict=True)):
        x = conv(x, kernel.astype(dtype))
        x = max_pool(x) if layer % 2 == 0 else x
        x, mean, variance = _norm(x, bias, *moments, train)
        means.append(moments[0] + recipe.norm_rate * (mean - moments[0]))
        variances.append(moments[1] + recipe.norm_rate * (variance - moments[1]))
        x = gelu(x)
    logits = (x.max((1, 2)) @ net.params["head"].astype(dtype)).astype(jnp.float32) / 9
    return logits, {"means": means, "variances": variances} if train else net.stats


def cut(images: Array, offsets: Array, mirrored: Array) -> Array:
    """Moves each image by its offset (down and right, [N, 2]), reflected at the border, after mirroring where asked."""
    height, width = images.shape[1:3]
    reflected = lambda at, size: size - 1 - jnp.abs(size - 1 - jnp.abs(at))  # noqa: E731
    rows = reflected(jnp.arange(height)[None, :] + offsets[:, :1], height)
    columns = reflected(jnp.arange(width)[None, :] + offsets[:, 1:], width)
    columns = jnp.where(mirrored[:, None], width - 1 - columns, columns)
    return images[jnp.arange(images.shape[0])[:, None, None], rows[:, :, None], columns[:, None, :]]


def averaged_logits(recipe: Recipe, net: Net, images: Array) -> Array:
    """Logits averaged over six views: the image as it is and moved by a pixel to two corners, each mirrored too."""

    def answer(view: tuple[Array, Array, Array]) -> Array:
        offset, mirrored, weight = view
        moved = cut(images, jnp.full((len(images), 2), offset), jnp.zeros(len(images), bool))
        return weight * forward(recipe, net, jnp.where(mirrored, moved[:, :, ::-1], moved))[0]

    views = jnp.array([0, 0, -1, -1, 1, 1]), jnp.arange(6) % 2 == 1, jnp.array([2.0, 2.0, 1.0, 1.0, 1.0, 1.0]) / 8
    return lax.map(answer, views).sum(0)


@partial(jax.jit, static_argnums=(0, 3))
def logits_of(recipe: Recipe, net: Net, chunks: Array, views: bool) -> Array:
    """Logits [chunks * n, classes] of uint8 images [chunks, n, H, W, C]; averaged over views where asked."""
    answer = averaged_logits if views else lambda *arguments: forward(*arguments)[0]
    logits = lax.map(lambda images: answer(recipe, net, images), chunks)
    return logits.reshape(-1, logits.shape[-1])


def flips(seed: Array | int, epoch: Array | int, size: int) -> Array:
    """Which images are mirrored: half of them at random in epoch 0, then every image in every other epoch."""
    first = jax.random.bernoulli(jax.random.fold_in(jax.random.key(seed), 1), 0.5, (size,))
    return first ^ (jnp.asarray(epoch) % 2 == 1)


def total_steps(recipe: Recipe, size: int) -> int:
    """Steps of a whole run over `size` images; an epoch's ragged end is left out."""
    return math.ceil(recipe.epochs * (size // recipe.batch))


def schedule(step: Array, total: int) -> Array:
    """The learning rate as a share of its peak: up from 0.2 in the first 23 %, then down to 0.07."""
    return jnp.interp(
        step.astype(jnp.float32), jnp.array([0.0, float(int(0.23 * total)), float(total)]), jnp.array([0.2, 1.0, 0.07])
    )


def descend(recipe: Recipe, state: State, gradients: dict[str, Any], share: Array, frozen: bool) -> State:
    """Nesterov's step on the *summed* loss of a batch; rate and decay do not depend on batch size or momentum."""
    scale = 1024 * (1 + 1 / (1 - recipe.momentum))
    params, momentum = {}, {}
    for name, values in state.net.params.items():
        if name == "stem" and frozen:
            params[name], momentum[name] = values, state.momentum[name]
            continue
        rate = recipe.learning_rate / scale * (recipe.bias_scale if name == "biases" else 1.0)
        decay = recipe.weight_decay * recipe.batch / scale / rate
        pulled = jax.tree.map(lambda g, p, decay=decay: g + decay * p, gradients[name], values)
        momentum[name] = jax.tree.map(lambda m, g: recipe.momentum * m + g, state.momentum[name], pulled)
        params[name] = jax.tree.map(
            lambda p, g, m, rate=rate: p - rate * share * (g + recipe.momentum * m), values, pulled, momentum[name]
        )
    return state._replace(net=state.net._replace(params=params), momentum=momentum, step=state.step + 1)


def look_ahead(recipe: Recipe, state: State, total: int) -> State:
    """Every few steps the slow weights move towards the fast ones, less and less as training ends, and replace them."""
    keep = 0.95**5 * (state.step.astype(jnp.float32) / total) ** 3
    due = state.step % recipe.lookahead == 0
    fast = (state.net.params, state.net.stats)
    # `where`, not `cond`: on a GPU a branch waits for the host, these few megabytes do not matter
    slow = jax.tree.map(lambda s, f: jnp.where(due, keep * s + (1 - keep) * f, s), state.slow, fast)
    params, stats = jax.tree.map(lambda s, f: jnp.where(due, s, f), slow, fast)
    return state._replace(net=state.net._replace(params=params, stats=stats), slow=slow)


def averaged(state: State) -> Net:
    """The network that answers: the slow weights."""
    return state.net._replace(params=state.slow[0], stats=state.slow[1])


def train_step(
    recipe: Recipe, total: int, frozen: bool, state: State, real: wmjax.Batch, triggers: wmjax.Batch | None
) -> tuple[State, Array]:
    """One step on augmented uint8 images with integer labels, the key's turn mixed in; also the mean loss."""
    classes = state.net.params["head"].shape[1]
    targets = (1 - recipe.smoothing) * jax.nn.one_hot(real.targets, classes) + recipe.smoothing / classes
    batch = wmjax.Batch(real.images, targets)
    if triggers is not None:
        turn = wmjax.key_batch(triggers, state.step, recipe.key_per_batch)
        batch = wmjax.mix(batch, wmjax.Batch(turn.images, jax.nn.one_hot(turn.targets, classes)))

    def loss_of(params: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
        net = state.net._replace(params=params)
        logits, stats = forward(recipe, net, batch.images, train=True, frozen=frozen)
        return -(batch.targets * jax.nn.log_softmax(logits)).sum(), stats

    (loss, stats), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.net.params)
    share = schedule(state.step, total)
    state = state._replace(net=state.net._replace(stats=stats))
    return look_ahead(recipe, descend(recipe, state, gradients, share, frozen), total), loss / recipe.batch


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def train_epoch(
    recipe: Recipe,
    steps: int,
    frozen: bool,
    state: State,
    seed: Array | int,
    data: wmjax.Batch,
    triggers: wmjax.Batch | None,
) -> tuple[State, Array]:
    """The first `steps` steps of an epoch as one program; `state` is donated. Also the mean loss of each step."""
    size = data.targets.shape[0]
    per_epoch, total = size // recipe.batch, total_steps(recipe, size)
    epoch = state.step // per_epoch
    order_key, shift_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), 2 + epoch))
    order = jax.random.permutation(order_key, size)[: steps * recipe.batch].reshape(steps, recipe.batch)
    offsets = jax.random.randint(shift_key, (steps, recipe.batch, 2), -recipe.shift, recipe.shift + 1)
    mirrored = flips(seed, epoch, size)[order]

    def step(state: State, turn: tuple[Array, Array, Array]) -> tuple[State, Array]:
        rows, moves, mirror = turn
        images = cut(data.images[rows], moves, mirror)
        return train_step(recipe, total, frozen, state, wmjax.Batch(images, data.targets[rows]), triggers)

    return lax.scan(step, state, (order, offsets, mirrored))
