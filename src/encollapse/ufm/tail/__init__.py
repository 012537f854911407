"""Networks whose tail prices the features by other decays than one of their own: linear tails, per-sample norms."""
