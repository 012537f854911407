"""Self-contained HTML pages: from templates, and one of figures to look at closely with plotly beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

import encollapse
from encollapse._internal import files
from encollapse._internal.format import SUBSCRIPT, unbroken
from encollapse._internal.json_values import plain
from encollapse.report.charts import Drawing
from encollapse.report.charts.screen import screen

PAGE, SCRIPT = "interactive.html", "plotly.min.js"


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
    """Escape text for HTML, set indices as of ``λ_b`` as subscripts, and end no line at a sign ``=``."""
    kept = str(escape(text)).replace(" = ", unbroken(" = "))
    return Markup(SUBSCRIPT.sub(r"<sub>\1</sub>", kept))


def spread(cell: Markup) -> Markup:
    """Set what follows the ``±`` of a table's cell beneath the mean, so that columns stay narrow."""
    mean, sign, rest = cell.partition(" ± ")
    return Markup('{}<span class="spread">± {}</span>').format(mean, rest) if sign else cell


def interactive_page(folder: Path, title: str, drawings: Sequence[Drawing]) -> Path:
    """Write ``interactive.html``, and the JavaScript of the installed plotly beside it."""
    charts = {d.name: screen(d.chart) for d in drawings}
    script = resources.files("plotly").joinpath("package_data", SCRIPT).read_text(encoding="utf-8")
    files.write_text(folder / SCRIPT, script)
    page = render("interactive.html.j2", title=title, drawings=drawings, script=SCRIPT, charts=Markup(_json(charts)))
    return files.write_text(folder / PAGE, page)


def _json(value: object) -> str:
    """JSON that may stand in a script element: no ``</script>`` can come of a label."""
    text = json.dumps(plain(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
