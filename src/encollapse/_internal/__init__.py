"""What every room may use: checks of arguments, files, number formats, optional packages, progress, types."""
