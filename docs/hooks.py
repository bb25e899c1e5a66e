"""What mkdocs does beside its usual work: files of the repository that pages link to become pages of the site.

A page links to `../wmjax/stats/labels.py` as GitHub wants it. The built site has no repository beside it, so each such
file joins it: documents and pictures as they are, sources as pages of code. Links to folders become plain text.
"""

import os
import posixpath
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

sys.path.append(str(Path(__file__).parent))
import notebooks
import python_names

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(#[^)\s]*)?(?=\))")
FOLDER = re.compile(r"\[([^\]]*)\]\(([^)#\s:]+)\)")
HOMES = {  # documents that have a place among the pages, by their place in the repository
    "README.md": "index.md",
    "wmjax/evidence/FORMAT.md": "reference/format.md",
    "wmjax/evidence/STANDARD.md": "reference/standard.md",
    "experiments/README.md": "experiments.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "STYLE.md": "style.md",
}
SOURCES = {home: source for source, home in HOMES.items() if source != "README.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the documents, then every file that a page or one of them links to."""
    for home, source in SOURCES.items():
        files.append(File.generated(config, home, content=(ROOT / source).read_text()))
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.py")):
        script = path.read_text()
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=notebooks.page(path.stem, script)))
        files.append(File.generated(config, f"notebooks/{path.stem}.ipynb", content=notebooks.notebook(script)))
    for page in list(files.documentation_pages()):
        for target in _targets(page):
            uri = _uri(target)
            if not target.startswith("docs/") and uri not in files.src_uris and (ROOT / target).is_file():
                files.append(_joined(target, uri, config))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points links at where the files are in the site."""
    if page.file.src_uri.startswith("files/"):
        return markdown
    base, here = _base(page.file), posixpath.dirname(page.file.src_uri)
    if page.file.src_uri == "reference/python.md":
        markdown = python_names.with_all(markdown)

    def text(match: re.Match[str]) -> str:
        folder = (ROOT / posixpath.normpath(posixpath.join(base, match[2]))).is_dir()
        return match[1] if folder else match[0]

    def moved(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(base, match[1]))
        inside = target.startswith("docs/") and not target.endswith(".py")
        if (ROOT / target).is_file() and (page.file.src_uri in SOURCES or not inside):
            return posixpath.relpath(_uri(target), here or ".") + (match[2] or "")
        return match[0]

    return LINK.sub(moved, FOLDER.sub(text, markdown))


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """What screen readers need and the theme leaves out: the search's name, no heading in a corner that has none."""
    return output.replace('role="dialog"', 'role="dialog" aria-label="Search"').replace("<th></th>", "<td></td>")


def _base(file: File) -> str:
    """The folder of the repository from which a page's links start."""
    return posixpath.dirname(SOURCES.get(file.src_uri, f"docs/{file.src_uri}"))


def _targets(file: File) -> list[str]:
    """What a page links to, by its place in the repository."""
    base = _base(file)
    return [posixpath.normpath(posixpath.join(base, match[1])) for match in LINK.finditer(file.content_string)]


def _uri(target: str) -> str:
    """Where a file of the repository is in the site."""
    if target in HOMES:
        return HOMES[target]
    if target.startswith("docs/"):
        return re.sub(r"^docs/(notebooks/\w+)\.py$", r"\1.md", target).removeprefix("docs/")
    return f"files/{target}" if target.endswith(".svg") else f"files/{target}.md"


def _joined(target: str, uri: str, config: MkDocsConfig) -> File:
    """A picture as it is; the text of any other file as a page that search passes over."""
    path = ROOT / target
    if target.endswith(".svg"):
        return File.generated(config, uri, abs_src_path=os.fspath(path))
    kind = {".py": "python", ".json": "json", ".yaml": "yaml", ".sh": "bash", ".toml": "toml"}.get(path.suffix, "text")
    head = f"---\ntitle: {target}\nsearch:\n  exclude: true\n---\n\n# `{target}`\n\n"
    content = f"{head}````{kind}\n{path.read_text()}\n````\n"
    return File.generated(config, uri, content=content, inclusion=InclusionLevel.NOT_IN_NAV)
