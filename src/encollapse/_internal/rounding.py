"""How finely float64 tells numbers apart."""

import numpy as np

EPS = float(np.finfo(np.float64).eps)
"""Distance from 1 to the next larger number."""

TINY = float(np.finfo(np.float64).tiny)
"""Smallest positive number that keeps all its digits."""
