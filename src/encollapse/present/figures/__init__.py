"""Figures of a study: each takes families of trials and returns a `Drawing`."""

from encollapse.present.figures.bias import bias_curves
from encollapse.present.figures.errors import error_overview
from encollapse.present.figures.figure import Drawing
from encollapse.present.figures.grams import gram_matrices
from encollapse.present.figures.transition import transition

__all__ = ["Drawing", "bias_curves", "error_overview", "gram_matrices", "transition"]
