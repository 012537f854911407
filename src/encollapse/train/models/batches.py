"""Whole sets in pieces that fit in memory."""

CHUNK = 512


def chunks(total: int, size: int = CHUNK) -> list[slice]:
    """Slices that cover `total` rows, `size` at a time."""
    return [slice(start, min(start + size, total)) for start in range(0, total, size)]
