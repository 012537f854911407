"""Convex losses with their conjugates."""
