"""What the docstring of every public name has: an example, and for functions parameters and what is returned."""

import importlib
import inspect
from typing import Any

import pytest

import encollapse as ec

ROOMS = (
    "encollapse",
    "encodings",
    "ufm",
    "geometry",
    "metrics",
    "measure",
    "data",
    "train",
    "study",
    "report",
    "explorer",
)


def public(room: str) -> dict[str, Any]:
    """Functions and classes of a room's ``__all__``, aliases of types such as unions left out."""
    module = ec if room == "encollapse" else importlib.import_module(f"encollapse.{room}")
    found = {name: getattr(module, name) for name in module.__all__}
    return {name: value for name, value in found.items() if inspect.isclass(value) or inspect.isfunction(value)}


def lacking(value: Any) -> list[str]:
    """What the docstring of a function or class lacks."""
    text = inspect.getdoc(value) or ""
    found = [] if ">>> " in text else ["Examples"]
    if inspect.isfunction(value):
        signature = inspect.signature(value)
        sections = {
            "Parameters": bool(signature.parameters),
            "Returns": signature.return_annotation not in ("None", None),
        }
        text = text.replace("Yields\n------", "Returns\n-------")  # of a context manager
        found += [name for name, wanted in sections.items() if wanted and f"{name}\n{'-' * len(name)}" not in text]
    return found


def test_what_lacks_is_seen() -> None:
    def bare(argument: int) -> int:
        """Say nothing."""
        return argument

    assert lacking(bare) == ["Examples", "Parameters", "Returns"]
    assert public("encodings")["one_hot"] is ec.encodings.one_hot


@pytest.mark.parametrize("room", ROOMS)
def test_public_docstrings_are_whole(room: str) -> None:
    wanting = {name: found for name, value in public(room).items() if (found := lacking(value))}
    assert not wanting
