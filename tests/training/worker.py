"""Run as a script, once a worker, with TF_CONFIG set: the train command, which prints its last weights as JSON.

    python -m tests.training.worker FLAGS

INTERRUPT=SIGKILL@7 in the environment sends this worker that signal once it has recorded step 7.
"""

import json
import os
import signal

from keras_pose import command, train
from keras_pose.flags import define_flags
from keras_pose.training.phase_run import PhaseRun

record, finish_epoch = PhaseRun._record, PhaseRun._finish_epoch


def record_and_interrupt(run: PhaseRun, pending: list[dict]) -> dict:
    values = record(run, pending)
    name, _, step = os.environ.get("INTERRUPT", "").partition("@")
    if name and run.context.step == int(step):
        os.kill(os.getpid(), getattr(signal, name))
    return values


def finish_epoch_and_tell(run: PhaseRun, timings: dict) -> None:
    finish_epoch(run, timings)
    weights = run.optimizer.parameters.numpy()[::50].tolist()
    print(json.dumps({"weights": weights, "best": run.progress.best}), flush=True)


if __name__ == "__main__":
    PhaseRun._record, PhaseRun._finish_epoch = record_and_interrupt, finish_epoch_and_tell
    define_flags()
    command.run(train.main)
