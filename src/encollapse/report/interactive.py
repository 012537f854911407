"""The figures of a report to look at closely: one page, plotly beside it, nothing from the network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from markupsafe import Markup

from encollapse._internal import files
from encollapse._internal.json_values import plain
from encollapse.report import templates as pages
from encollapse.report.charts import Drawing
from encollapse.report.charts.screen import screen

PAGE, SCRIPT = "interactive.html", "plotly.min.js"


def interactive_page(folder: Path, title: str, drawings: Sequence[Drawing]) -> Path:
    """Write ``interactive.html``, and the JavaScript of the installed plotly beside it."""
    charts = {d.name: screen(d.chart) for d in drawings if d.chart is not None}
    script = resources.files("plotly").joinpath("package_data", SCRIPT).read_text(encoding="utf-8")
    files.write_text(folder / SCRIPT, script)
    page = pages.render(
        "interactive.html.j2",
        title=title,
        drawings=[d for d in drawings if d.chart is not None],
        script=SCRIPT,
        charts=Markup(_json(charts)),
    )
    return files.write_text(folder / PAGE, page)


def _json(value: object) -> str:
    """JSON that may stand in a script element: no ``</script>`` can come of a label."""
    text = json.dumps(plain(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
