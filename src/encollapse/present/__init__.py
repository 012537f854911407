"""Figures, reports and tables: given records and geometries, never models.

Names load on first use, so that the tables of the terminal are printed without what draws figures.
"""

import importlib
from typing import TYPE_CHECKING, Any

from encollapse._extras import needed_by

_HOMES = {"measurement_page": "measured_page", "report": "study_page"}
_MODULES = ("explorer", "style")

__all__ = ["measurement_page", "report"]

if TYPE_CHECKING:
    from encollapse.present import explorer as explorer
    from encollapse.present import style as style
    from encollapse.present.measured_page import measurement_page
    from encollapse.present.study_page import report


def __getattr__(name: str) -> Any:
    if name in _MODULES or name in _HOMES:
        with needed_by("encollapse.present", "study"):
            module = importlib.import_module(f"encollapse.present.{_HOMES.get(name, name)}")
        return module if name in _MODULES else getattr(module, name)
    raise AttributeError(f"module 'encollapse.present' has no attribute {name!r}")
