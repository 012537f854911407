"""Whether the processor multiplies in bfloat16 by itself. Where it does not, mixed precision is slower, not faster."""

from __future__ import annotations

from pathlib import Path

import torch

_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
"""Sets of instructions of x86 processors, of which one is enough."""

_CPUINFO = Path("/proc/cpuinfo")


def multiplies_bfloat16() -> bool | None:
    """Whether this processor has instructions for products in bfloat16, or None where that is unknown."""
    ask = getattr(torch.cpu, "get_capabilities", None)  # newer than the oldest torch that this package takes
    if ask is not None:
        told = ask()
        known = [bool(told[name]) for name in _INSTRUCTIONS if name in told]
        return any(known) if known else None
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), None)
    return None if flags is None else not set(_INSTRUCTIONS).isdisjoint(flags)
