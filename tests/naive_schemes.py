"""The schemes anew, in plain loops and hashlib, from the docstrings of `wmjax.keys` alone."""

import hashlib
from collections.abc import Iterator


def reading(secret: bytes, purpose: str, index: int) -> Iterator[int]:
    message = (8).to_bytes(4, "big") + b"wmjax/v1" + len(purpose).to_bytes(4, "big") + purpose.encode("ascii")
    message += index.to_bytes(8, "big") + (32).to_bytes(4, "big") + secret
    return iter(hashlib.shake_256(message).digest(1 << 16))


def number(octets: Iterator[int], bound: int) -> int:
    while True:
        word = 0
        for _ in range(8):
            word = 256 * word + next(octets)
        if word < 2**64 - 2**64 % bound:
            return word % bound


def different_numbers(octets: Iterator[int], bound: int, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        if (drawn := number(octets, bound)) not in found:
            found.append(drawn)
    return found


def naive_cloud(octets, height, width, channels, finest):
    lattices = []
    cells = 2
    while cells <= finest:
        corners = range(cells + 1)
        lattices.append([[[next(octets) for _ in range(channels)] for _ in corners] for _ in corners])
        cells *= 2
    picture = [[[0] * channels for _ in range(width)] for _ in range(height)]
    for octave, lattice in enumerate(lattices):
        cells = 2 ** (octave + 1)
        for y in range(height):
            row, down = divmod((2 * y + 1) * cells * 128 // height, 256)
            for x in range(width):
                column, right = divmod((2 * x + 1) * cells * 128 // width, 256)
                for c in range(channels):
                    value = lattice[row][column][c] * (256 - down) * (256 - right)
                    value += lattice[row][column + 1][c] * (256 - down) * right
                    value += lattice[row + 1][column][c] * down * (256 - right)
                    value += lattice[row + 1][column + 1][c] * down * right
                    picture[y][x][c] += value // 65536 * 2 ** (len(lattices) - 1 - octave)
    values = [value for row in picture for pixel in row for value in pixel]
    low, high = min(values), max(values)
    return [[[(value - low) * 255 // (high - low) for value in pixel] for pixel in row] for row in picture]


def naive_abstract(secret, data, triggers):
    finest = max(2, min(32, max(data.image[:2]) // 2))
    return [naive_cloud(reading(secret, "image/abstract", i), *data.image, finest) for i in range(triggers)]


def naive_blend(secret, data, triggers):
    height, width, channels = data.image
    images, labels = data.images.tolist(), data.labels.tolist()
    merged = []
    for i in range(triggers):
        octets = reading(secret, "image/blend", i)
        a = number(octets, len(images))
        b = number(octets, len(images))
        while labels[b] == labels[a]:
            b = number(octets, len(images))
        mask = naive_cloud(octets, height, width, 1, 4)
        picture = [[[0] * channels for _ in range(width)] for _ in range(height)]
        for y in range(height):
            for x in range(width):
                m = mask[y][x][0]
                for c in range(channels):
                    picture[y][x][c] = (m * images[a][y][x][c] + (255 - m) * images[b][y][x][c] + 127) // 255
        merged.append(picture)
    return merged


def naive_sources(secret, data, triggers, scheme):
    chosen = different_numbers(reading(secret, f"rows/{scheme}", 0), len(data), triggers)
    return [data.images[i].tolist() for i in chosen]


def naive_pattern(secret, image, sigma=102):
    height, width, channels = image
    octets = reading(secret, "mark/noise", 0)
    value = lambda: (sum(next(octets) for _ in range(12)) - 1530) * sigma // 256  # noqa: E731
    return [[[value() for _ in range(channels)] for _ in range(width)] for _ in range(height)]


def naive_noise(secret, data, triggers):
    height, width, channels = data.image
    pattern = naive_pattern(secret, data.image)
    images = naive_sources(secret, data, triggers, "noise")
    for image in images:
        for y in range(height):
            for x in range(width):
                for c in range(channels):
                    image[y][x][c] = min(255, max(0, image[y][x][c] + pattern[y][x][c]))
    return images


DEFAULT_TEXT = {(8, 8, 1): "TE", (32, 32, 3): "TEST"}
LETTERS = {
    "T": ["###", " # ", " # ", " # ", " # "],
    "E": ["###", "#  ", "## ", "#  ", "###"],
    "S": [" ##", "#  ", " # ", "  #", "## "],
}


def naive_stamp(secret, image, text, scale=1):
    """Pixels (y, x) under the text, and its colour."""
    height, width, channels = image
    lines = [" ".join(LETTERS[letter][row] for letter in text) for row in range(5)]
    octets = reading(secret, "mark/content", 0)
    top = number(octets, height - 5 * scale + 1)
    left = number(octets, width - (4 * len(text) - 1) * scale + 1)
    bits = 1 + number(octets, 2**channels - 1)
    pixels = [
        (top + row * scale + down, left + column * scale + right)
        for row, line in enumerate(lines)
        for column, cell in enumerate(line)
        for down in range(scale)
        for right in range(scale)
        if cell == "#"
    ]
    return pixels, [255 if bits // 2**c % 2 else 0 for c in range(channels)]


def naive_content(secret, data, triggers, text=None, scale=1):
    pixels, ink = naive_stamp(secret, data.image, text or DEFAULT_TEXT[data.image], scale)
    images = naive_sources(secret, data, triggers, "content")
    for image in images:
        for y, x in pixels:
            image[y][x] = ink
    return images


def naive_unrelated(secret, data, triggers, image=None):
    height, width, channels = image or data.image
    out = []
    for old in naive_sources(secret, data, triggers, "unrelated"):
        new = [[old[y * len(old) // height][x * len(old[0]) // width] for x in range(width)] for y in range(height)]
        if channels == 1:
            new = [[[sum(pixel) // len(pixel)] for pixel in row] for row in new]
        elif len(new[0][0]) == 1:
            new = [[pixel * channels for pixel in row] for row in new]
        out.append(new)
    return out


NAIVE = {
    "abstract": naive_abstract,
    "blend": naive_blend,
    "content": naive_content,
    "noise": naive_noise,
    "unrelated": naive_unrelated,
}
