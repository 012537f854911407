"""How training moves toward the minimum."""
