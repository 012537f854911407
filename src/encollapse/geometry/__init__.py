"""The waist of the hourglass: class geometries in plain numpy, frames, collapse metrics, comparison."""

from encollapse.geometry.class_geometry import ClassGeometry
from encollapse.geometry.comparison import Comparison, ComparisonRow, compare
from encollapse.geometry.frames import orthogonal_gram, simplex_etf_gram

__all__ = ["ClassGeometry", "Comparison", "ComparisonRow", "compare", "orthogonal_gram", "simplex_etf_gram"]
