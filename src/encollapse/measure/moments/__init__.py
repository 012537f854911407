"""Moments of classes in one pass: how they are added, merged, shared and stored."""
