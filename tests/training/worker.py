"""Run as a script, once a worker, with TF_CONFIG set: trains the lifter and prints its last weights' sum as JSON.

python -m tests.training.worker DATASET OUTPUT
"""

import json
import sys

from keras_pose.training import phase_run, trainer
from keras_pose.training.experiment import PhaseConfig
from tests.training.runs import tiny_experiment


def main(dataset: str, output: str) -> None:
    experiment = tiny_experiment(output, dataset, (PhaseConfig("lifter", 2),), train={"strategy": "auto"})
    found = {}
    finish = phase_run.PhaseRun._finish_epoch

    def finish_and_look(run, timings):
        finish(run, timings)
        found["weights"] = run.optimizer.parameters.numpy()[::50].tolist()

    phase_run.PhaseRun._finish_epoch = finish_and_look
    found["writes"] = trainer.train(experiment)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
