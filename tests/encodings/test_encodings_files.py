"""Files of encodings that promise more than memory holds, and damaged archives."""

import json
from pathlib import Path

import numpy as np
import pytest

import encollapse as ec
from encollapse._internal import memory
from encollapse.errors import FileFormatError, MemoryLimitError
from reference.damaged_files import bomb

HEAD = {"format": "encollapse.encoding", "version": 1, "name": "large"}


def test_many_classes_in_a_few_bytes_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(HEAD | {"family": "affine-one-hot", "num_classes": 10**9, "scale": 1.0, "offset": 0.0}))
    encoding = ec.encodings.Encoding.load(path)
    assert encoding.num_classes == 10**9
    for build in (
        lambda: encoding.classes,
        lambda: encoding.codewords,
        lambda: encoding.gram(),
        lambda: encoding.mean(),
        lambda: encoding.centered(),
        lambda: encoding.encode([3]),
    ):
        with pytest.raises(MemoryLimitError):
            build()
    path.write_text(json.dumps(HEAD | {"family": "simplex", "num_classes": 10**8, "code_dim": 10**8}))
    with pytest.raises(MemoryLimitError):
        ec.encodings.Encoding.load(path)


def test_codewords_that_unpack_beyond_reason_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "DENSE_LIMIT_BYTES", 2**24)
    path = ec.encodings.random(5, 3).save(tmp_path / "a.npz")
    codewords = np.zeros((7, 2**20))
    with np.load(path) as whole:
        np.savez_compressed(path, codewords=codewords, record=whole["record"])
    with pytest.raises(MemoryLimitError, match=r"a\.npz.*unpack"):
        ec.encodings.Encoding.load(path)
    bomb(path, 2**20)
    with pytest.raises(FileFormatError, match=r"a\.npz: holds no array 'record'"):
        ec.encodings.Encoding.load(path)
