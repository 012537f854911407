"""Self-contained HTML pages from templates."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

import encollapse
from encollapse._internal.format import SUBSCRIPT


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


def symbols(text: Any) -> Markup:
    """Escape text for HTML and set the indices of symbols such as ``λ_b`` as subscripts."""
    return Markup(SUBSCRIPT.sub(r"<sub>\1</sub>", str(escape(text))))


def spread(cell: Markup) -> Markup:
    """Set what follows the ``±`` of a table's cell beneath the mean, so that columns stay narrow."""
    mean, sign, rest = cell.partition(" ± ")
    return Markup('{}<span class="spread">± {}</span>').format(mean, rest) if sign else cell
