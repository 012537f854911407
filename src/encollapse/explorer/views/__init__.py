"""What each panel of the explorer shows, as plain data."""
