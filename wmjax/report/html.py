"""Filling the HTML templates."""

import base64
import hashlib
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **values: Any) -> bytes:
    """A page from a template of this package; every value is escaped."""
    environment = Environment(loader=PackageLoader("wmjax.report"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template(template).render(**values).encode()


def inline(*names: str) -> str:
    """Style sheets or scripts of this package, one after the other, to stand in a page."""
    return "".join(files("wmjax.report").joinpath("templates", name).read_text("utf-8") for name in names)


def csp_hash(element: str) -> str:
    """What a content security policy names an inline element by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(element.encode()).digest()).decode()
