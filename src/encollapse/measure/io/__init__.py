"""Arrays and rows in files."""
