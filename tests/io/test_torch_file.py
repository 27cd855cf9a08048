import argparse
import io
import os
import pickle
import subprocess
import sys
import types
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_pose.core.errors import UserError
from keras_pose.io.torch_file import read_torch_file
from tests.conftest import ROOT

LAYOUTS = {"zip": True, "legacy": False}


def content_of(value, layout: str = "zip") -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=LAYOUTS[layout])
    return stream.getvalue()


def read(tmp_path, content: bytes):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    return read_torch_file(path)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.int64, torch.uint8, torch.bool])
def test_tensors_of_every_kind(tmp_path, layout, dtype):
    base = (torch.arange(24) % 7).to(dtype).reshape(2, 3, 4)
    value = {
        "whole": base,
        "turned": base.permute(2, 0, 1),
        "part": base[1:, :, ::2],
        "none": base[:0],
        "one": base.sum(),
    }
    found = read(tmp_path, content_of(value, layout))
    assert set(found) == set(value)
    for name, tensor in value.items():
        assert found[name].dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(found[name], tensor.numpy())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bfloat16_becomes_float32(tmp_path, layout):
    tensor = torch.tensor([1.5, -3e30, 0.0078125]).bfloat16()
    np.testing.assert_array_equal(read(tmp_path, content_of(tensor, layout)), tensor.float().numpy())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_training_record_keeps_its_tensors(tmp_path, layout):
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    network(torch.ones(3)).sum().backward()
    optimizer.step()
    value = {"weights": network.state_dict(), "optimizer": optimizer.state_dict(), "score": np.float64(0.5), "epoch": 3}
    found = read(tmp_path, content_of(value, layout))
    np.testing.assert_array_equal(found["weights"]["bias"], network.bias.detach().numpy())
    assert found["epoch"] == 3 and found["optimizer"]["param_groups"][0]["lr"] == 1e-3


class Runs:
    """Pickles into a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def zip_of(pickled: bytes, **more) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **more) as archive:
        archive.writestr("a/data.pkl", pickled)
    return stream.getvalue()


HOSTILE = {
    "os.system": lambda flag: pickle.dumps(Runs(os.system, f"touch {flag}"), 2),
    "eval": lambda flag: pickle.dumps({"a": Runs(eval, f"open({str(flag)!r}, 'w')")}, 2),
    "open, protocol 4": lambda flag: pickle.dumps(Runs(open, str(flag), "w"), 4),
    "INST": lambda flag: b"(S'touch " + str(flag).encode() + b"'\nios\nsystem\n.",
    "OBJ": lambda flag: b"(cos\nsystem\nS'touch " + str(flag).encode() + b"'\no.",
    "torch.load": lambda flag: pickle.dumps(Runs(torch.load, str(flag)), 2),
    "numpy.load": lambda flag: pickle.dumps(Runs(np.load, str(flag)), 2),
    "a module's attribute": lambda flag: b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93\x8c\x05touch\x85R.",
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("attack", HOSTILE)
def test_no_code_in_a_file_is_run(tmp_path, attack, layout):
    flag = tmp_path / "run"
    pickled = HOSTILE[attack](flag)
    with pytest.raises(UserError, match=r"a\.pth"):
        read(tmp_path, zip_of(pickled) if layout == "zip" else pickled)
    assert not flag.exists()


def test_a_hostile_file_does_not_affect_later_files(tmp_path):
    """BUILD with a pair sets attributes on whatever stands on the stack, here the makers of tensors and dicts."""
    state = b"(N}(S'__defaults__'\nNS'__setitem__'\nK\x01S'__class__'\nK\x01ut"
    for name in (b"torch._utils\n_rebuild_tensor_v2", b"collections\nOrderedDict"):
        for content in (b"c" + name + b"\n" + state + b"b.", b"c" + name + b"\n)R" + state + b"b."):
            try:
                read(tmp_path, zip_of(content))
            except UserError:
                pass
    value = OrderedDict(a=torch.ones(3))
    np.testing.assert_array_equal(read(tmp_path, content_of(value))["a"], [1, 1, 1])


@pytest.mark.parametrize(
    "content,named",
    [
        (zip_of(b"\x80\x02}r\xff\xff\xff\x7f."), "damaged"),  # a memo of 16 GB
        (zip_of(b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00."), "damaged|instruction"),
        (zip_of(pickle.dumps({}), compression=zipfile.ZIP_DEFLATED), "compressed"),
        (zip_of(b"(" * 100000 + b"t" * 100000 + b"."), "damaged"),
        (b"", "damaged"),
        (b"<html>not found</html>", "damaged"),
        (pickle.dumps({"a": 1}), "not a PyTorch file"),
    ],
)
def test_damage_is_named(tmp_path, content, named):
    with pytest.raises(UserError, match=named):
        read(tmp_path, content)


def test_a_tensor_may_not_reach_beyond_its_numbers(tmp_path):
    content = content_of(torch.arange(6.0).reshape(2, 3))
    for shape in (b"K\x04K\x03\x86", b"K\x02K\x04\x86"):
        with pytest.raises(UserError, match="beyond|repeats"):
            read(tmp_path, rewrite_pickle(content, b"K\x02K\x03\x86", shape))


def rewrite_pickle(content: bytes, old: bytes, new: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(stream, "w") as target:
        for name in source.namelist():
            part = source.read(name)
            assert not name.endswith("data.pkl") or old in part
            target.writestr(name, part.replace(old, new) if name.endswith("data.pkl") else part)
    return stream.getvalue()


def test_shared_parts_cost_memory_once(tmp_path):
    """Lists of lists that would unfold to 2^60 parts, and a thousand tensors of the same numbers."""
    value = [torch.ones(1000)]
    for _ in range(60):
        value = [value, value]
    part = read(tmp_path, content_of(value))
    for _ in range(60):
        part = part[1]
    np.testing.assert_array_equal(part[0], np.ones(1000))
    base = torch.ones(1 << 18)
    many = read(tmp_path, content_of([base[i:] for i in range(1000)]))
    assert len(many) == 1000 and all(np.shares_memory(many[0], other) for other in many[1:5])


SMALL = {layout: content_of({"w": torch.arange(6.0).reshape(2, 3), "n": 3}, layout) for layout in LAYOUTS}


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_damage_gives_a_clear_error_or_a_value(tmp_path_factory, layout, data):
    content = bytearray(SMALL[layout])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    try:
        read(tmp_path_factory.getbasetemp(), bytes(content))
    except UserError:
        pass


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_pickle_gives_a_clear_error_or_a_value(tmp_path_factory, pickled):
    for content in (zip_of(b"\x80\x02" + pickled + b"."), pickled):
        try:
            read(tmp_path_factory.getbasetemp(), content)
        except UserError:
            pass


def test_it_needs_no_torch(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(SMALL["legacy"])
    code = "import sys; sys.modules['torch'] = None; from keras_pose.io.torch_file import read_torch_file as read; "
    code += "print(read(sys.argv[1])['w'].sum())"
    result = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip() == "15.0", result.stderr


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 4, 3)


WHOLE = {
    "own class": Network,
    "torch's class": lambda: torch.nn.Sequential(torch.nn.Linear(2, 3)),
    "DataParallel": lambda: torch.nn.DataParallel(Network()),
    "in a record": lambda: {"model": Network(), "ema": None, "epoch": 3},
    "in a list": lambda: [Network().half()],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_module_is_refused_with_a_remedy(tmp_path, name, layout):
    with pytest.raises(
        UserError, match=r"a whole pickled module \(.*\), which runs .* torch.save\(model.state_dict\(\)"
    ):
        read(tmp_path, content_of(WHOLE[name](), layout))


def test_torchscript_is_refused_with_a_remedy(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 3)).save(tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a TorchScript module.*torch.jit.load\(path\).state_dict\(\)"):
        read_torch_file(tmp_path / "a.pth")


class HistoryBuffer:
    """As MMEngine's log: an array, and methods in its state."""

    def __init__(self):
        self._history = np.arange(3.0)
        self.statistics_methods = {"min": HistoryBuffer.min}

    def min(self):
        pass


@pytest.mark.parametrize("layout", LAYOUTS)
def test_logs_and_settings_beside_weights_are_ignored(tmp_path, layout, monkeypatch):
    for name in ("mmengine", "mmengine.logging", "mmengine.logging.history_buffer"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["mmengine.logging.history_buffer"].HistoryBuffer = HistoryBuffer
    for part in (HistoryBuffer, HistoryBuffer.min):
        monkeypatch.setattr(part, "__module__", "mmengine.logging.history_buffer")
    others = [Path("a"), argparse.Namespace(rate=1), {1, 2}, np.float32(3), np.arange(3), torch.Size([2])]
    others.append(defaultdict(int))
    value = {"state_dict": {"w": torch.ones(2)}, "message_hub": {"log_scalars": {"loss": HistoryBuffer()}}}
    found = read(tmp_path, content_of(value | {"meta": {str(i): other for i, other in enumerate(others)}}, layout))
    np.testing.assert_array_equal(found["state_dict"]["w"], [1, 1])
