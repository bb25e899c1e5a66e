"""Filling the HTML templates."""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from wmjax.text import OPTIONS


def typed(text: str) -> str:
    """What the library says, for people who type: a parameter in backticks becomes its option.

    >>> typed("ask for a claim made for it, and give it with `nonce`")
    'ask for a claim made for it, and give it with `--nonce-from`'
    """
    return re.sub("`([a-z][a-z0-9_]*)`", lambda m: f"`{OPTIONS.get(m[1], '--' + m[1].replace('_', '-'))}`", text)


def coded(text: str) -> Markup:
    """Text with what stands in backticks as code; all of it escaped."""
    parts = [escape(part) for part in text.split("`")]
    if len(parts) % 2 == 0:  # a backtick without another
        return escape(text)
    return Markup().join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


def page(
    template: str, *, title: str, sheets: Sequence[str], summary: Sequence[str], script: str = "", **values: Any
) -> bytes:
    """A page in the one frame that all have: it loads nothing, and runs its own script alone.

    Args:
      template: of its body, which extends `frame.html`.
      title: of the page.
      sheets: style sheets beside `page.css`.
      summary: a few lines of plain text to paste into a mail.
      script: file of its script; empty for none.
      values: what the template says; every one is escaped.

    Returns:
      HTML in UTF-8.
    """
    style, code = inline("page.css", *sheets), inline(script) if script else ""
    scripts = f" script-src '{csp_hash(code)}';" if code else ""
    policy = f"default-src 'none'; style-src '{csp_hash(style)}';{scripts} img-src data:; base-uri 'none'"
    fixed = {"title": title, "style": style, "script": code, "policy": f"{policy}; form-action 'none'"}
    return render(template, **fixed, summary=summary, **values)


def render(template: str, **values: Any) -> bytes:
    """What a template of this package gives; every value is escaped."""
    return _environment().get_template(template).render(**values).encode()


@cache
def _environment() -> Environment:
    """Which keeps the templates that it has read."""
    environment = Environment(loader=PackageLoader("wmjax.report"), autoescape=True, undefined=StrictUndefined)
    environment.filters["coded"] = coded
    return environment


def inline(*names: str) -> str:
    """Style sheets or scripts of this package, one after the other, to stand in a page."""
    return "".join(files("wmjax.report").joinpath("templates", name).read_text("utf-8") for name in names)


def csp_hash(element: str) -> str:
    """What a content security policy names an inline element by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(element.encode()).digest()).decode()
