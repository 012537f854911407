"""Self-contained HTML pages from templates."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import encollapse
from encollapse._internal.format import spread, symbols


def render(template: str, **values: Any) -> str:
    """Return the page that a template makes of values."""
    environment = Environment(
        loader=PackageLoader("encollapse.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["symbols"] = symbols
    environment.filters["spread"] = spread
    return environment.get_template(template).render(version=encollapse.__version__, **values)
