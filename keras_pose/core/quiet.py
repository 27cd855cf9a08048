"""Keeps the start-up notes of TensorFlow and LiteRT off stderr. Errors stay.

Both libraries write notes from C++ straight to file descriptor 2: when they are imported, when the first operation
looks for a GPU, and when the first TFLite model runs. `install` wraps exactly these moments. Within them descriptor 2
leads to a filter, a process of its own that passes every line on at once and holds back the lines in `NOTES`. It drops
them when the moment ends well. If it ends with an exception or a crash, the filter prints them too.

Set TF_CPP_MIN_LOG_LEVEL=0 to see everything. Standard library only: the filter runs this file as a script.
"""

import contextlib
import functools
import importlib.machinery
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, BinaryIO

# The modules that write notes while they are imported.
NOISY_IMPORTS = ("tensorflow",)
# The methods that write notes when they first run. Those of Context are private to TensorFlow: where a new version has
# renamed them, the notes come back and tests/core/test_quiet.py fails.
_INTERPRETER = ("Interpreter.allocate_tensors", "SignatureRunner.__call__")
NOISY_CALLS = {
    "tensorflow.python.eager.context": ("Context.ensure_initialized", "Context._initialize_physical_devices"),
    "tensorflow.lite.python.interpreter": _INTERPRETER,
    "ai_edge_litert.interpreter": _INTERPRETER,
}
NOTES = re.compile(
    rb"^(I\d{4} |\d{4}-\d\d-\d\d \S+: I "  # information, in the formats of absl and of older TensorFlow
    rb"|INFO: "  # information of LiteRT
    rb"|WARNING: All log messages before absl::InitializeLog"
    rb"|To enable the following instructions: .* rebuild TensorFlow"
    rb"|.* (already registered|has already been registered)"  # plug-ins of CUDA, linked twice into TensorFlow
    rb"|.*TF-TRT Warning: Could not find TensorRT"
    rb"|W\d{4} .*flatbuffer_helpers.* Ignored (output_format|drop_control_dependency))"  # of the TFLite converter
)
# Notes where there is no GPU. Where there is one these lines say why it is not used.
NOTES_WITHOUT_GPU = re.compile(rb".*(Could not find cuda drivers|failed call to cuInit)")
GPU_DRIVERS = ("/proc/driver/nvidia/version", "/dev/nvidiactl")

ENDED_WELL, FAILED = b"\0ended well\n", b"\0failed\n"
_is_quiet = False


def install() -> None:
    """Makes the noisy imports and calls quiet, unless TF_CPP_MIN_LOG_LEVEL is 0; by default notes are off for good.

    Call it before TensorFlow is imported. It imports nothing itself.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1") == "0" or any(type(f) is _Finder for f in sys.meta_path):
        return
    for name in NOISY_CALLS:
        if name in sys.modules:
            _wrap_calls(sys.modules[name])
    sys.meta_path.insert(0, _Finder())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drops the notes that are written to descriptor 2 within; prints them after all if this ends with an exception.

    Not nested: within another `quiet`, of this thread or another, it does nothing.
    """
    global _is_quiet
    started = None if _is_quiet else _start_filter()
    if started is None:
        yield
        return
    process, stderr = started
    _is_quiet = True
    end = FAILED
    try:
        yield
        end = ENDED_WELL
    finally:
        _flush_stderr()
        os.dup2(stderr, 2)
        os.close(stderr)
        with contextlib.suppress(OSError):  # somebody killed the filter
            process.communicate(end)
        _is_quiet = False


def _start_filter() -> tuple[subprocess.Popen, int] | None:
    """The filter, which now gets descriptor 2, and a copy of what the descriptor was; None where it cannot start."""
    try:
        stderr = os.dup(2)
    except OSError:  # a process without stderr
        return None
    _flush_stderr()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=stderr,
            start_new_session=True,  # Ctrl-C must not reach it
        )
    except OSError:
        os.close(stderr)
        return None
    assert process.stdin is not None
    os.dup2(process.stdin.fileno(), 2)
    return process, stderr


def _flush_stderr() -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


class _Finder:
    """Finds the noisy modules as the other finders do, and wraps their execution."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name not in NOISY_IMPORTS and name not in NOISY_CALLS:
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target) if finder is not self else None
            if spec is not None:
                loader: Any = spec.loader
                if hasattr(loader, "exec_module"):
                    loader.exec_module = functools.partial(_execute, loader.exec_module)
                return spec
        return None


def _execute(exec_module: Callable[[ModuleType], None], module: ModuleType) -> None:
    with quiet() if module.__name__ in NOISY_IMPORTS else contextlib.nullcontext():
        exec_module(module)
    if module.__name__ in NOISY_CALLS:
        _wrap_calls(module)


def _wrap_calls(module: ModuleType) -> None:
    """Makes the first call of each noisy method of a module quiet; the call puts the method itself back."""
    for noisy in NOISY_CALLS[module.__name__]:
        class_name, _, name = noisy.partition(".")
        owner = getattr(module, class_name, None)
        method = getattr(owner, name, None)
        if method is not None:
            setattr(owner, name, _quiet_once(owner, name, method))


def _quiet_once(owner: Any, name: str, method: Callable) -> Callable:
    @functools.wraps(method)
    def first(*arguments, **named):
        setattr(owner, name, method)
        with quiet():
            return method(*arguments, **named)

    return first


# --- the filter ------------------------------------------------------------------------------------------------


def pass_on(lines: Iterable[bytes], output: BinaryIO, has_gpu: bool) -> None:
    """Writes lines to `output`, notes only where the lines end otherwise than with `ENDED_WELL`."""
    notes = []
    for line in lines:
        text, end, reason = line.partition(b"\0")
        about_gpu = NOTES_WITHOUT_GPU.match(text)
        if (about_gpu and not has_gpu) or (NOTES.match(text) and not about_gpu):
            notes.append(text)
        elif text:
            output.write(text)
            output.flush()
        if end:
            if end + reason == ENDED_WELL:
                return
            break
    output.writelines(notes)
    output.flush()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        pass_on(sys.stdin.buffer, sys.stdout.buffer, any(map(os.path.exists, GPU_DRIVERS)))
