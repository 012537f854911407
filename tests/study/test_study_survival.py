"""What no kill, full disk, read-only folder or second driver may spoil."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reference.study_folder import study_of, write_folder
from reference.study_survival import survive

pytestmark = pytest.mark.processes


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_kills_at_random_moments_leave_what_an_undisturbed_run_leaves(tmp_path: Path) -> None:
    done = survive(tmp_path, seeds=1, kills=2, seed=5)
    assert (done.driver_kills, done.worker_kills) == (1, 1)


def _own_mounts() -> bool:
    """Whether this user may mount a file system of its own."""
    try:
        return subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not _own_mounts(), reason="no mount namespaces here (unshare -rm)")
def test_a_full_disk_is_said_and_costs_nothing_that_was_stored(tmp_path: Path) -> None:
    tests = Path(__file__).parents[1]
    command = ["unshare", "-rm", sys.executable, str(tests / "reference" / "full_disk.py"), str(tmp_path)]
    searched = os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": searched}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stderr.splitlines()[-1])
    assert seen["codes"] == [1, 0]
    assert 0 < seen["before"] < 6
    assert (seen["after"], seen["kept"]) == (6, True)
    assert "cannot be written (" in done.stderr
    assert "hint: make room" in done.stderr
    assert "Traceback" not in done.stderr


READ_ONLY = """
import subprocess, sys
from pathlib import Path
import encollapse as ec
from encollapse import cli
folder = Path(sys.argv[1])
subprocess.run(["mount", "--bind", folder, folder], check=True)
subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
for out in ("out", "new"):
    assert cli.run(["study", str(folder / "made-up.toml"), "--out", str(folder / out), "--executor", "inline"]) == 1
results = ec.study.open(folder / "out")
results.done[0].geometries()
print(len(results.done))
"""


@pytest.mark.skipif(not _own_mounts(), reason="no mount namespaces here (unshare -rm)")
def test_a_folder_that_cannot_be_written_is_said_and_can_be_read(tmp_path: Path) -> None:
    study = study_of()
    write_folder(tmp_path / "out", study)
    (tmp_path / "made-up.toml").write_text(study.source)
    command = ["unshare", "-rm", sys.executable, "-c", READ_ONLY, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(len(study.trials))
    assert done.stderr.count("cannot be written (") == 2
    assert "Traceback" not in done.stderr
