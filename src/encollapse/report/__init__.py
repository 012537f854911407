"""Figures, reports and tables: given records and geometries, never models.

Names load on first use, so that the tables of the terminal are printed without what draws figures.
"""

import importlib
from typing import TYPE_CHECKING, Any

from encollapse._internal.extras import needed_by

_HOMES = {"measurement_page": "measurement_report", "plot": "plotting", "report": "study_report"}
_MODULES = ("style",)

__all__ = ["measurement_page", "plot", "report"]

if TYPE_CHECKING:
    from encollapse.report import style as style
    from encollapse.report.measurement_report import measurement_page
    from encollapse.report.plotting import plot
    from encollapse.report.study_report import report


def __getattr__(name: str) -> Any:
    if name in _MODULES or name in _HOMES:
        with needed_by("encollapse.report", "study"):
            module = importlib.import_module(f"encollapse.report.{_HOMES.get(name, name)}")
        return module if name in _MODULES else getattr(module, name)
    raise AttributeError(f"module 'encollapse.report' has no attribute {name!r}")
