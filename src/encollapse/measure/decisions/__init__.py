"""What a classifier decides: its rule, counted against the labels and the nearest class mean."""
