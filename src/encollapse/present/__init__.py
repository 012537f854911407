"""Figures, reports and tables: given records and geometries, never models."""

from encollapse.present.measurement_page import measurement_page
from encollapse.present.report import report

__all__ = ["measurement_page", "report"]
