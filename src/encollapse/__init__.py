"""encollapse: the geometry that classifiers collapse to, and the class encoding that decides it.

The one reading path: encode, predict, train, measure, compare. Submodules load on first use. Importing
encollapse imports neither torch nor any other optional dependency.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MODULES = (
    "data",
    "diagnosis",
    "encodings",
    "explorer",
    "geometry",
    "measure",
    "metrics",
    "report",
    "study",
    "train",
    "ufm",
)
_HOMES = {
    "ClassGeometry": "geometry",
    "Comparison": "geometry",
    "Diagnosis": "diagnosis",
    "compare": "geometry",
    "diagnose": "diagnosis.diagnose",
    "orthogonal_gram": "geometry",
    "plot": "report",
    "simplex_etf_gram": "geometry",
}
__all__ = [
    "ClassGeometry",
    "Comparison",
    "Diagnosis",
    "__version__",
    "compare",
    "data",
    "diagnose",
    "diagnosis",
    "encodings",
    "explorer",
    "geometry",
    "measure",
    "metrics",
    "orthogonal_gram",
    "plot",
    "report",
    "simplex_etf_gram",
    "study",
    "train",
    "ufm",
]

if TYPE_CHECKING:
    from encollapse import data, diagnosis, encodings, explorer, geometry, measure, metrics, report, study, train, ufm
    from encollapse.diagnosis import Diagnosis
    from encollapse.diagnosis.diagnose import diagnose
    from encollapse.geometry import ClassGeometry, Comparison, compare, orthogonal_gram, simplex_etf_gram
    from encollapse.report import plot


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"encollapse.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"encollapse.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'encollapse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_HOMES])
