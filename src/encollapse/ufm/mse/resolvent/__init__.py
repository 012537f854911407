"""Many bias decays at once, without an eigendecomposition for each."""
