"""What the package promises to those who install it: the lowest versions that it declares, and each extra alone.

    python .ci/packages.py lowest [--extras study,explore,...] [--without torch]
    python .ci/packages.py wheel [--extras dask,submitit,...]

`lowest` installs every declared minimum as it stands (a constraints file of them) into .venv-lowest, uses what each
extra is for, and runs a quick part of the tests. `wheel` builds wheel and sdist, installs the wheel with each extra
alone into an environment of its own, and uses it; the sdist is installed once, without extras. Environments are made
with the Python that runs this. With CONSTRAINT=FILE in the environment further constraints hold, such as a build of
torch at hand.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

QUICK = ["tests/encodings", "tests/geometry", "tests/data/io", "tests/cli/test_cli_encodings.py"]
"""Tests that touch many packages in little time; each is left out where it is not there."""

SMOKE = {
    "": """import encollapse as ec
p = ec.ufm.Problem(ec.encodings.one_hot(5), 7, weight_decay=5e-3, feature_decay=1e-3)
assert ec.ufm.solve(p).certificate.holds""",
    "torch": """import numpy as np, encollapse as ec
assert ec.measure.collapse(np.random.default_rng(0).standard_normal((23, 7)), np.arange(23) % 5).num_samples == 23""",
    "fast": """import numba, numpy as np, encollapse as ec
m = ec.measure.ClassMoments(5, 7).update(np.random.default_rng(0).standard_normal((23, 7)), np.arange(23) % 5)
assert m.num_samples == 23""",
    "study": """import encollapse as ec, subprocess, sys
assert len(ec.study.load('digits-transition').trials) > 1
asked = 'predict --encoding one-hot --classes 5 --samples-per-class 7 --weight-decay 5e-3 --feature-decay 1e-4'
for words in (['--help'], ['encodings'], asked.split()):
    subprocess.run([sys.executable, '-m', 'encollapse', *words], check=True, stdout=subprocess.DEVNULL)""",
    "dask": """import tempfile, numpy as np, encollapse as ec
from distributed import Client, LocalCluster
if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f'{folder}/part-1.npz', features=np.eye(5, 7).repeat(3, 0), labels=np.arange(5).repeat(3))
        with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster, Client(cluster) as client:
            found = ec.measure.measure_shards(folder, executor=client.get_executor(), progress=False)
    assert found.num_samples == 15""",
    "submitit": """import tempfile, numpy as np, submitit, encollapse as ec
from encollapse.encodings import one_hot
with tempfile.TemporaryDirectory() as folder:
    executor = submitit.LocalExecutor(folder)
    executor.update_parameters(timeout_min=2)
    assert executor.submit(lambda: one_hot(5).num_classes).result() == 5""",
    "parquet": """import tempfile, numpy as np, pyarrow as pa, pyarrow.parquet as pq, encollapse as ec
with tempfile.TemporaryDirectory() as folder:
    pq.write_table(pa.table({'x': np.arange(6.0), 'y': np.ones(6), 'label': np.arange(6) % 2}), f'{folder}/a.parquet')
    assert ec.measure.measure_shards(folder, progress=False).num_samples == 6""",
    "explore": """import json, urllib.request, encollapse as ec
with ec.explorer.serving() as address, urllib.request.urlopen(address + 'api/start') as answer:
    assert json.load(answer)['defaults']['encoding'] == 'one-hot'""",
}


def minima(extras: list[str]) -> list[str]:
    """Constraints ``name==lowest`` of the package and some of its extras, those that extras name of each other too."""
    found: dict[str, str] = {}
    waiting = [*PROJECT["dependencies"], *(r for e in extras for r in PROJECT["optional-dependencies"][e])]
    while waiting:
        wanted = waiting.pop()
        name, named, lowest = re.fullmatch(r"([\w.-]+)(?:\[([\w,-]+)\])?(?:>=([\w.]+))?", wanted).groups()  # type: ignore[union-attr]
        if name == "encollapse":
            waiting += [r for extra in named.split(",") for r in PROJECT["optional-dependencies"][extra]]
        elif lowest is not None:
            found[name] = lowest
    return [f"{name}=={lowest}" for name, lowest in sorted(found.items())]


def environment(folder: Path, *, fresh: bool = True) -> Path:
    """Make an environment, and return its Python."""
    venv.create(folder, with_pip=True, clear=fresh)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def pip(python: Path, *words: str) -> bool:
    """Install, and say whether it could be."""
    more = [word for file in filter(None, [os.environ.get("CONSTRAINT")]) for word in ("--constraint", file)]
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *more, *words]
    return subprocess.run(command, check=False).returncode == 0


def lowest(extras: list[str], without: list[str]) -> bool:
    """Install the minima, and run a quick part of the tests."""
    python = environment(ROOT / ".venv-lowest")
    chosen = [line for line in minima(extras) if line.partition("==")[0] not in without]
    print("\n".join(chosen), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lowest.txt"
        file.write_text("\n".join(chosen) + "\n", encoding="utf-8")
        if not pip(python, "--constraint", str(file), "pytest", "hypothesis", "--editable", f".[{','.join(extras)}]"):
            return False
    for extra in ("", *extras):
        if extra in SMOKE and not used(python, extra):
            return False
    tests = [test for test in QUICK if (ROOT / test).exists()]
    run = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    return subprocess.run(run, check=False, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}).returncode == 0


def used(python: Path, extra: str) -> bool:
    """Whether what an extra is for works."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "smoke.py"
        script.write_text(SMOKE[extra], encoding="utf-8")
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        fine = subprocess.run([str(python), str(script)], check=False, cwd=folder, env=clean).returncode == 0
    print(f"{'works' if fine else 'FAILS':8}{extra or 'no extra'}", flush=True)
    return fine


def wheel(extras: list[str]) -> bool:
    """Build, install each extra alone, use it."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        builder = environment(place / "build")
        if not pip(builder, "build"):
            return False
        subprocess.run([builder, "-m", "build", "--outdir", str(place / "dist"), str(ROOT)], check=True)
        (whl,), (sdist,) = (list((place / "dist").glob(ending)) for ending in ("*.whl", "*.tar.gz"))
        print(whl.name, sdist.name, flush=True)
        fine = True
        for name, extra, what in [("sdist", "", str(sdist)), *((e or "none", e, f"{whl}[{e}]") for e in ("", *extras))]:
            python = environment(place / name)
            installed = pip(python, what.removesuffix("[]"))
            if not installed:
                print(f"{'FAILS':8}{name}: cannot be installed", flush=True)
            fine &= installed and used(python, extra)
        return fine


def main() -> None:
    """Try what is asked for, and end with 1 where something fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("lowest", "wheel"))
    parser.add_argument("--extras", help="some of them, with commas; default: all that are tried")
    parser.add_argument("--without", default="", help="packages whose minimum is not held to, with commas (lowest)")
    options = parser.parse_args()
    every = [extra for extra in SMOKE if extra]
    extras = every if options.extras is None else [extra for extra in options.extras.split(",") if extra]
    fine = lowest(extras, options.without.split(",")) if options.what == "lowest" else wheel(extras)
    print("every one works" if fine else "something FAILS", flush=True)
    sys.exit(not fine)


if __name__ == "__main__":
    main()
