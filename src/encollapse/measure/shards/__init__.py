"""Features in many files, more than memory holds, measured in blocks and over any executor."""
