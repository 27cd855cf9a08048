"""Files are written whole or not at all."""

import os

import numpy as np
import pytest

from keras_pose.core.errors import UserError
from keras_pose.io import atomic


def test_a_library_writes_by_name_and_the_file_appears_whole(tmp_path):
    path = tmp_path / "new" / "labels.npz"
    with atomic.writing(path) as partial:
        np.savez(partial, a=[1, 2])  # appends .npz to names of another suffix
        assert not path.exists()
    assert np.load(path)["a"].tolist() == [1, 2] and os.listdir(path.parent) == ["labels.npz"]


def test_a_failure_inside_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ValueError, match="inside"), atomic.writing(path) as partial:
        partial.write_text("half")
        raise ValueError("inside")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_one_line(tmp_path):
    os.symlink("/dev/full", tmp_path / "a.partial.txt")  # the kernel's own full disk
    with pytest.raises(UserError, match=r"cannot write .*a\.txt: No space left"):
        with atomic.writing(tmp_path / "a.txt") as partial:
            partial.write_text("x")
    assert os.listdir(tmp_path) == []


def test_a_file_in_the_place_of_a_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"), atomic.writing(tmp_path / "file" / "a.txt"):
        pytest.fail("the folder cannot exist")
