"""Figures, reports and tables: given records and geometries, never models."""

from encollapse.present.report import report

__all__ = ["report"]
