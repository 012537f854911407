"""What no kill, full disk, read-only folder or second driver may spoil."""

from pathlib import Path

import pytest

from reference.study_survival import survive


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_kills_at_random_moments_leave_what_an_undisturbed_run_leaves(tmp_path: Path) -> None:
    done = survive(tmp_path, seeds=2, kills=4, seed=5)
    assert done.driver_kills + done.worker_kills == 4
    assert min(done.driver_kills, done.worker_kills) >= 1
