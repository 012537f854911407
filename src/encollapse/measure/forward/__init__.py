"""Running a network once: hooks, batches, and room for its features."""
