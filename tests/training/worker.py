"""Workers that train as one, forked from a process that has imported TensorFlow: a start then costs its own work.

    python -m tests.training.worker FOLDER

Each line of its input is a start, as JSON: `flags` of the train command, and for each worker its `configs`, TF_CONFIG,
and its `interrupts`: SIGKILL@7 sends it that signal once it has recorded step 7. For each it prints a line: how every
worker ended and when. What worker i wrote is in FOLDER/i.out and FOLDER/i.err; after each epoch, some of its weights.
"""

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from keras_pose import train
from keras_pose.core import command
from keras_pose.flags import define_flags
from keras_pose.training.trainer import Trainer
from tests.training.kill import DIE_WITH_PARENT

PATIENCE_S = 900  # for a busy machine; a quiet one needs a few seconds
record, finish_epoch = Trainer._record, Trainer._finish_epoch


def record_and_interrupt(run: Trainer, learner, pending: list[dict]) -> dict:
    values = record(run, learner, pending)
    name, _, step = os.environ["INTERRUPT"].partition("@")
    if name and run.step == int(step):
        os.kill(os.getpid(), getattr(signal, name))
    return values


def finish_epoch_and_tell(run: Trainer, learner, timings: dict) -> None:
    finish_epoch(run, learner, timings)
    weights = learner.optimizer.parameters.numpy()[::50].tolist()
    print(json.dumps({"weights": weights, "best": run.progress.best}), flush=True)


def work(flags: list[str], config: str, interrupt: str, outputs: Path) -> None:
    """The body of the forked process: the train command. It never returns."""
    status = 1
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    try:
        for number, suffix in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(outputs.with_suffix(suffix), os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
        os.environ |= {"TF_CONFIG": config, "INTERRUPT": interrupt}
        sys.argv = ["train", *flags]
        Trainer._record, Trainer._finish_epoch = record_and_interrupt, finish_epoch_and_tell
        define_flags()
        command.run(train.main)
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def start(flags: list[str], configs: list[str], interrupts: list[str], folder: Path) -> list[dict]:
    """How the workers of one start ended: exit code, or the signal as a negative one, and when in seconds."""
    workers, ended, until = {}, {}, time.monotonic() + PATIENCE_S
    for i, (config, interrupt) in enumerate(zip(configs, interrupts, strict=True)):
        pid = os.fork()
        if not pid:
            work(flags, config, interrupt, folder / str(i))
        workers[pid] = i
    while len(ended) < len(workers):
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            ended[workers[pid]] = {"status": os.waitstatus_to_exitcode(status), "when": time.monotonic()}
        elif time.monotonic() > until:
            for pid in [pid for pid, i in workers.items() if i not in ended]:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return [ended[i] for i in range(len(workers))]


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(start(**json.loads(line), folder=Path(sys.argv[1]))), flush=True)
