"""encollapse: the geometry that classifiers collapse to, and the class encoding that decides it.

The one reading path: encode, predict, train, measure, compare. Submodules load on first use; importing
encollapse imports neither torch nor any other optional dependency.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MODULES = ("data", "encodings", "explorer", "geometry", "measure", "metrics", "report", "study", "train", "ufm")
_NAMES = ("ClassGeometry", "Comparison", "compare", "orthogonal_gram", "simplex_etf_gram")
__all__ = [
    "ClassGeometry",
    "Comparison",
    "__version__",
    "compare",
    "data",
    "encodings",
    "explorer",
    "geometry",
    "measure",
    "metrics",
    "orthogonal_gram",
    "report",
    "simplex_etf_gram",
    "study",
    "train",
    "ufm",
]

if TYPE_CHECKING:
    from encollapse import data, encodings, explorer, geometry, measure, metrics, report, study, train, ufm
    from encollapse.geometry import ClassGeometry, Comparison, compare, orthogonal_gram, simplex_etf_gram


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"encollapse.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module("encollapse.geometry"), name)
    raise AttributeError(f"module 'encollapse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_NAMES])
