"""Figures, each a `Drawing` or several sheets of them, from families of trials, or of a problem's transition."""

from encollapse.report.charts import Drawing
from encollapse.report.figures.against import against_settings
from encollapse.report.figures.collapse import collapse_dots, decision_dots, rare_dots
from encollapse.report.figures.curves import bias_curves, path_figure, transition
from encollapse.report.figures.decays import weight_decay_dots
from encollapse.report.figures.dynamics import dynamics
from encollapse.report.figures.errors import error_maps, error_overview
from encollapse.report.figures.excess import excess_parts
from encollapse.report.figures.grams import gram_encodings, gram_matrices
from encollapse.report.figures.imbalance import imbalance
from encollapse.report.figures.scatter import scatter

__all__ = [
    "Drawing",
    "against_settings",
    "bias_curves",
    "collapse_dots",
    "decision_dots",
    "dynamics",
    "error_maps",
    "error_overview",
    "excess_parts",
    "gram_encodings",
    "gram_matrices",
    "imbalance",
    "path_figure",
    "rare_dots",
    "scatter",
    "transition",
    "weight_decay_dots",
]
