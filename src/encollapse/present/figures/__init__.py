"""Figures, each a `Drawing` or several sheets of them, from families of trials, or of a problem's transition."""

from encollapse.present.charts import Drawing
from encollapse.present.figures.bias import bias_curves
from encollapse.present.figures.collapse import collapse_dots
from encollapse.present.figures.decays import weight_decay_dots
from encollapse.present.figures.decisions import decision_dots
from encollapse.present.figures.dynamics import dynamics
from encollapse.present.figures.error_map import error_maps
from encollapse.present.figures.errors import error_overview
from encollapse.present.figures.grams import gram_encodings, gram_matrices
from encollapse.present.figures.imbalance import imbalance
from encollapse.present.figures.path import path_figure
from encollapse.present.figures.rare import rare_dots
from encollapse.present.figures.scatter import scatter
from encollapse.present.figures.transition import transition

__all__ = [
    "Drawing",
    "bias_curves",
    "collapse_dots",
    "decision_dots",
    "dynamics",
    "error_maps",
    "error_overview",
    "gram_encodings",
    "gram_matrices",
    "imbalance",
    "path_figure",
    "rare_dots",
    "scatter",
    "transition",
    "weight_decay_dots",
]
