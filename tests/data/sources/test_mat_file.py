"""The reader of MAT files gives what scipy gives."""

import numpy as np
import pytest
import scipy.io

from keras_pose.core.errors import UserError
from keras_pose.data.sources.mat_file import read_mat


def cells():
    values = np.empty((2, 3), object)
    for i in range(6):
        values.flat[i] = np.arange(i + 1.0).reshape(1, -1)
    return values


def structs():
    """Nested as MPII's annotations are."""
    point = np.zeros((1, 2), [("x", object), ("id", object)])
    point["x"][0] = [np.array([[1.5]]), np.array([[2.5, 3.5]])]
    point["id"][0] = [np.array([[3]], np.uint8), np.zeros((0, 0))]
    return {"annolist": {"name": "a.jpg", "points": point, "count": 2.0}}


VALUES = {
    "doubles": np.random.default_rng(0).normal(size=(3, 14, 5)),
    "bytes": np.arange(6, dtype=np.uint8).reshape(2, 3),
    "long": np.array([[-(2**40), 2**40]]),
    "single": np.float32([[0.5, -2]]),
    "complex": np.array([[1 + 2j, 3]]),
    "logical": np.array([[True, False]]),
    "text": "hands",
    "empty": np.zeros((0, 3)),
    "cells": cells(),
    "struct": structs(),
}


def assert_same(a, b):
    assert a.shape == b.shape and a.dtype.names == b.dtype.names
    for name in a.dtype.names or ():
        assert_same(a[name], b[name])
    if a.dtype == object:
        for x, y in zip(a.flat, b.flat, strict=True):
            assert_same(x, y)
    elif not a.dtype.names and a.dtype.kind != "U":
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("compressed", [True, False])
def test_variables_read_as_scipy_reads_them(tmp_path, compressed):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, VALUES, do_compression=compressed)
    ours, theirs = read_mat(path, VALUES), scipy.io.loadmat(path, chars_as_strings=False)
    assert list(ours) == list(VALUES)
    for name in VALUES:
        assert_same(ours[name], theirs[name])


def test_text_can_be_joined(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", VALUES)
    assert "".join(read_mat(tmp_path / "a.mat", ["text"])["text"].ravel()) == "hands"


def test_only_named_variables_are_read(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", VALUES)
    assert list(read_mat(tmp_path / "a.mat", ["cells", "absent"])) == ["cells"]


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"\x89HDF" + bytes(600))
    with pytest.raises(UserError, match=r"a\.mat is not a MAT file of version 5"):
        read_mat(tmp_path / "a.mat", [])
