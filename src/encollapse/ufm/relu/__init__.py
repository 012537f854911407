"""Features without negative entries."""
