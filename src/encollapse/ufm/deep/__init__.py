"""Several weight layers: Schatten quasi-norms of the outputs."""
