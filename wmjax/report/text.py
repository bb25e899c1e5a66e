"""Foreign text, such as the names of files, made fit to be shown."""


def visible(text: str) -> str:
    r"""The text with everything that cannot be seen, or turns the line around, spelt out.

    >>> visible("a\nb\u202ec")
    'a\\nb\\u202ec'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cut(text: str, width: int = 80) -> str:
    """The text's two ends where it is longer than a line has room for."""
    return text if len(text) <= width else f"{text[: width // 2 - 2]}...{text[1 - width // 2 :]}"
