"""Measures where there are no disjoint classes: regression, several labels a sample, outliers, kernels."""
