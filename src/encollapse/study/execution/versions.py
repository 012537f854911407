"""What a result was computed with."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata

_PACKAGES = ("encollapse", "numpy", "scipy", "torch", "lightning-fabric", "scikit-learn")


@cache
def installed() -> dict[str, str]:
    """Versions of encollapse, Python and the packages that decide the numbers, and the platform."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found | {"platform": platform.platform()}
