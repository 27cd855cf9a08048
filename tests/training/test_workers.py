"""Two processes train as one: the path that several machines take."""

import json
import os
import socket
import subprocess
import sys

from tests.training.runs import read_metrics, write_poses


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def test_two_workers_stay_equal_and_one_writes(tmp_path):
    poses = write_poses(tmp_path / "poses", {"train": 35, "validation": 11})
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.worker", str(poses), str(tmp_path / "run")],
            env=os.environ | {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    outputs = [worker.communicate(timeout=240) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    first, second = (json.loads(text.splitlines()[-1]) for text, _ in outputs)
    assert (first["writes"], second["writes"]) == (True, False)
    assert first["weights"] == second["weights"] and any(first["weights"])
    epochs = [record for record in read_metrics(tmp_path / "run") if record["kind"] == "epoch"]
    assert len(epochs) == 2 and epochs[-1]["step"] == 8
    # Every example is validated once, whichever worker sees it.
    validations = [[line for line in text.splitlines() if "epoch 2/2" in line] for text, _ in outputs]
    assert validations[0] == validations[1] and f"mpjpe_mm {epochs[-1]['val_mpjpe_mm']:.4g}" in validations[0][0]
