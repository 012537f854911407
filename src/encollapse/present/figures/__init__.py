"""Figures, each a `Drawing`: of a study, from families of trials, and of a problem's exact transition."""

from encollapse.present.figures.bias import bias_curves
from encollapse.present.figures.errors import error_overview
from encollapse.present.figures.figure import Drawing
from encollapse.present.figures.grams import gram_matrices
from encollapse.present.figures.path import path_figure
from encollapse.present.figures.transition import transition

__all__ = ["Drawing", "bias_curves", "error_overview", "gram_matrices", "path_figure", "transition"]
