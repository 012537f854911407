"""Metrics that need the samples themselves, where moments of the classes are not enough."""
