"""Study files: what may stand in them, and what is said where something else does."""
