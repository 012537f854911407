"""Labels that are an affine image of one-hot labels: classes grouped by their count, at any number of classes."""
