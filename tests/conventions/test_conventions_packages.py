"""What `make lowest` and `make wheel` try is all that is declared."""

import runpy
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = runpy.run_path(str(ROOT / ".ci" / "packages.py"), run_name="packages")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_every_extra_of_users_is_installed_alone_and_used() -> None:
    tools = {"dev", "all", "examples"}
    assert set(PACKAGES["SMOKE"]) == {"", *EXTRAS} - tools


def test_every_declared_minimum_is_held_to() -> None:
    held = dict(line.split("==") for line in PACKAGES["minima"](["explore", "dask"]))
    assert held["numpy"] == "1.26"
    assert held["dask"] == "2024.8"  # with an extra of its own behind its name
    assert {"torch", "typer", "starlette"} <= set(held)  # by way of other extras
    assert "numba" not in held


def test_what_is_tried_after_the_minima_is_there() -> None:
    assert all((ROOT / test).exists() for test in PACKAGES["QUICK"])
