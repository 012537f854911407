"""What a study has found, on disk."""
