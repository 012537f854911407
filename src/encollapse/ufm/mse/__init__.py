"""Squared error: one singular value decomposition of the labels, then a smooth problem in the bias."""
