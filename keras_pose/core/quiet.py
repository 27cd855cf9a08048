"""Keeps the startup messages of TensorFlow and LiteRT off stderr. Errors stay.

Both libraries write messages from C++ directly to file descriptor 2: during import, when the first operation looks for
a GPU, and when the first TFLite model runs. `install` wraps exactly these moments. Meanwhile descriptor 2 leads to a
filter process, which passes lines on immediately but holds back those that match `NOTES`. It drops them if the wrapped
code succeeds, and prints them if it raises or crashes.

Set TF_CPP_MIN_LOG_LEVEL=0 to see everything. Standard library only: the filter runs this file as a script.
"""

import contextlib
import functools
import importlib.machinery
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, BinaryIO

# Modules that write messages during import.
NOISY_IMPORTS = ("tensorflow",)
# Methods that write messages on their first call. Those of Context are private to TensorFlow: if a new version renames
# them, the messages come back and tests/core/test_quiet.py fails.
_INTERPRETER = ("Interpreter.allocate_tensors", "SignatureRunner.__call__")
NOISY_CALLS = {
    "tensorflow.python.eager.context": ("Context.ensure_initialized", "Context._initialize_physical_devices"),
    "tensorflow.lite.python.interpreter": _INTERPRETER,
    "ai_edge_litert.interpreter": _INTERPRETER,
}
NOTES = re.compile(
    rb"^(I\d{4} |\d{4}-\d\d-\d\d \S+: I "  # info messages, in the formats of absl and of older TensorFlow
    rb"|INFO: "  # info messages of LiteRT
    rb"|WARNING: All log messages before absl::InitializeLog"
    rb"|To enable the following instructions: .* rebuild TensorFlow"
    rb"|.* (already registered|has already been registered)"  # CUDA plug-ins, linked into TensorFlow twice
    rb"|.*TF-TRT Warning: Could not find TensorRT"
    rb"|W\d{4} .*flatbuffer_helpers.* Ignored (output_format|drop_control_dependency))"  # of the TFLite converter
)
# Held back only on machines without a GPU: with one, these lines explain why it is not used.
NOTES_WITHOUT_GPU = re.compile(rb".*(Could not find cuda drivers|failed call to cuInit)")
GPU_DRIVERS = ("/proc/driver/nvidia/version", "/dev/nvidiactl")

ENDED_WELL, FAILED = b"\0ended well\n", b"\0failed\n"
_LOCK = threading.Lock()  # held inside `quiet`


def install() -> None:
    """Silences the noisy imports and calls, unless TF_CPP_MIN_LOG_LEVEL is 0. Sets it to 1 if it is not set.

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
    """Drops the lines that match `NOTES` from descriptor 2 inside the block; prints them if the block raises.

    Does not nest: inside another `quiet`, in any thread, it does nothing.
    """
    if not _LOCK.acquire(blocking=False):
        yield
        return
    started = _start_filter()
    if started is None:
        _LOCK.release()
        yield
        return
    process, stderr = started
    end = FAILED
    try:
        yield
        end = ENDED_WELL
    finally:
        _flush_stderr()
        os.dup2(stderr, 2)
        os.close(stderr)
        with contextlib.suppress(OSError):  # the filter was killed
            process.communicate(end)
        _LOCK.release()


def _start_filter() -> tuple[subprocess.Popen, int] | None:
    """The filter process, connected to descriptor 2, and a copy of the old descriptor; None if it cannot start."""
    if not sys.executable or getattr(sys, "frozen", False):  # no Python to run the filter
        return None
    try:
        stderr = os.dup(2)
    except OSError:  # the process has no stderr
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
    """Finds the noisy modules through the other finders, and wraps their execution."""

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
    """Silences the first call of each noisy method of a module; that call restores the original method."""
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
    """Writes lines to `output`; those that match `NOTES` last, and only if `ENDED_WELL` does not follow."""
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
