"""``make system`` asks apt for what is missing, and for nothing else; apt, dpkg and sudo only take notes here."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTALL = "apt-get install -y -qq --no-install-recommends"
BOTH = ["apt-get update -qq", f"{INSTALL} chromium", f"{INSTALL} dataset-fashion-mnist"]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def asked(folder: Path, *, there: tuple[str, ...], user: int = 0, refused: str = "none") -> tuple[str, list[str]]:
    """What the target prints, and what it asks apt and sudo for, on a machine that has these programs."""
    log = folder / "log"
    stubs = {
        "apt-get": f'echo "apt-get $*" >> {log}; case "$*" in *{refused}) exit 100;; esac',
        "sudo": f'echo "sudo $1" >> {log}; shift; exec "$@"',
        "id": f"echo {user}",
        "dpkg": "exit 1",
        "dpkg-with-data": "exit 0",
        "chromium": "exit 0",
    }
    folder.mkdir()
    for name in there:
        (folder / name.removesuffix("-with-data")).write_text(f"#!/bin/sh\n{stubs[name]}\n")
        (folder / name.removesuffix("-with-data")).chmod(0o755)
    for name in ("sh", "env"):
        (folder / name).symlink_to(str(shutil.which(name)))
    command = [str(shutil.which("make")), "-s", "-C", str(ROOT), "system"]
    done = subprocess.run(command, env={"PATH": str(folder)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, log.read_text().splitlines() if log.exists() else []


def test_what_is_missing_is_installed(tmp_path: Path) -> None:
    assert asked(tmp_path / "bare", there=("apt-get", "id", "dpkg")) == ("", BOTH)
    data_only = [BOTH[0], BOTH[2]]
    assert asked(tmp_path / "browser", there=("apt-get", "id", "dpkg", "chromium")) == ("", data_only)
    assert asked(tmp_path / "whole", there=("apt-get", "id", "dpkg-with-data", "chromium")) == ("", [])
    assert asked(tmp_path / "other", there=("id",)) == ("", [])


def test_one_that_cannot_be_had_does_not_keep_the_other_away(tmp_path: Path) -> None:
    printed, commands = asked(tmp_path / "x", there=("apt-get", "id", "dpkg"), refused="chromium")
    assert commands == BOTH
    assert printed == "could not install chromium: the tests that need it will say so\n"


def test_others_than_root_ask_sudo_which_asks_for_no_password(tmp_path: Path) -> None:
    printed, commands = asked(tmp_path / "x", there=("apt-get", "id", "dpkg", "sudo"), user=1000)
    assert printed == ""
    assert commands == [line for command in BOTH for line in ("sudo -n", command)]
