"""`CollapseCallback` with real Trainers, under both names of Lightning, in one process and in two."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encollapse.errors import ArgumentError
from encollapse.measure import CollapseCallback

ROOT = Path(__file__).parents[2]


def trained(namespace: str, devices: int, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "reference.lightning_run", namespace, str(devices), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads((folder / "record-0.json").read_text())
    return found


def logged(folder: Path) -> dict[str, list[float]]:
    head, *lines = (folder / "metrics.csv").read_text().splitlines()
    rows = [dict(zip(head.split(","), line.split(","), strict=True)) for line in lines]
    return {name: [float(row[name]) for row in rows if row[name]] for name in head.split(",")}


def agree(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found["missing"] == wanted["missing"]
    for name, value in wanted.items():
        if isinstance(value, float):
            np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


@pytest.mark.slow
def test_one_process(tmp_path: Path) -> None:
    record = trained("lightning.pytorch", 1, tmp_path)
    assert "lightning.pytorch.callbacks.callback" in record["bases"]
    assert record["training"] is True
    assert list(record["results"]) == ["1", "3", "4"]
    assert list(record["held"]) == ["2", "4"]
    agree(record["results"]["4"], record["direct"])
    agree(record["held"]["4"], record["direct"])
    columns = logged(tmp_path)
    for name in ("cdnv", "nc3_self_duality", "nc4_agreement"):
        found = [record["results"][epoch][name] for epoch in ("1", "3", "4")]
        np.testing.assert_allclose(columns[f"collapse/{name}"], found, rtol=1e-6)
    assert "collapse/label_centering" not in columns
    assert {name for name in columns if name.startswith("held/")} == {"held/cdnv", "held/nc4_agreement"}
    np.testing.assert_allclose(columns["valid/cdnv"][-1], record["direct"]["cdnv"], rtol=1e-5)


@pytest.mark.processes
@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    """Eleven samples on each; the shuffled halves are measured as one set."""
    record = trained("pytorch_lightning", 2, tmp_path)
    assert "pytorch_lightning.callbacks.callback" in record["bases"]
    other = json.loads((tmp_path / "record-1.json").read_text())
    assert record["results"] == other["results"]
    assert record["results"]["4"]["num_samples"] == 22
    agree(record["results"]["4"], record["direct"])
    agree(record["held"]["4"], record["direct"])
    np.testing.assert_allclose(record["logged"]["valid/cdnv"], record["direct"]["cdnv"], rtol=1e-5)


def test_bad_arguments() -> None:
    with pytest.raises(ArgumentError, match=r"data.*'train', 'validation'.*'test'"):
        CollapseCallback("test")
    with pytest.raises(ArgumentError, match="every"):
        CollapseCallback(every=0)
    with pytest.raises(ArgumentError, match=r"metrics.*'nc9'"):
        CollapseCallback(metrics=["nc9"])
