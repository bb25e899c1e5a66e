"""An HTML page taken apart, for what tests ask of it."""

from html.parser import HTMLParser

INLINE = {"a", "bdi", "code", "em", "i", "span", "strong", "sup"}
VOID = {"meta", "img", "br", "link", "input", "rect", "path"}

HOSTILE = [  # names that would take over a page, or the line they stand in
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a\"b'c&amp;\nd",
    "safe\u202egnp.exe",
    "x" * 1000,
    "lone\udcffbyte\x00\x1b[31m",
]


class Page(HTMLParser):
    """A page, every element of which is closed.

    Attributes:
      tags: its elements in order, each with its attributes.
      texts: its texts in order, each with the element that began last before it.
      by: the text of each element with a tag, class or id, by that; style and script apart.
      rows: its table rows, the text of each cell.
      style: all style sheets.
    """

    def __init__(self, html: str | bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.by: dict[str, list[str]] = {}
        self.rows: list[list[str]] = []
        self.style = ""
        self._open: list[tuple[str, set[str]]] = []
        self.feed(html if isinstance(html, str) else html.decode())
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        names = {tag, *(dict(attrs).get("class") or "").split(), dict(attrs).get("id") or ""} - {""}
        for name in names:
            self.by.setdefault(name, []).append("")
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")
        if tag not in INLINE:
            self._add(" ")
        if tag not in VOID:
            self._open.append((tag, names))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.tags[-1][0] if self.tags else "", data))
        if self._open and self._open[-1][0] == "style":
            self.style += data
        elif not self._open or self._open[-1][0] != "script":
            self._add(data)
            if any(tag == "td" for tag, _ in self._open):
                self.rows[-1][-1] += data

    def _add(self, text: str) -> None:
        for name in set().union(*(names for _, names in self._open)):
            self.by[name][-1] += text

    def text(self, name: str = "body") -> str:
        """What stands in the elements with this tag, class or id, with single spaces."""
        return " ".join(" ".join(self.by.get(name, [])).split())
