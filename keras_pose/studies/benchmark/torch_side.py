"""The PyTorch contestant."""

import contextlib

import numpy as np
import torch

from keras_pose.models.hrnet import VARIANTS
from keras_pose.studies.benchmark import kernels, torch_hrnet
from keras_pose.studies.benchmark.side import WEIGHTS_FILE, Side, Spec

LEARNING_RATE = 1e-3
PROFILED_STEPS = 3
AUTOCAST = {"float32": None, "mixed_bfloat16": torch.bfloat16}


class TorchSide(Side):
    """The network of `torch_hrnet` on precomputed heatmaps, with PyTorch's fused Adam; eager or compiled."""

    def __init__(self, spec: Spec):
        if spec.precision not in AUTOCAST:
            raise ValueError(f"PyTorch is measured in {' and '.join(AUTOCAST)}, not in {spec.precision}")
        if spec.cores:
            torch.set_num_threads(spec.cores)
        has_gpu = torch.cuda.is_available()
        self.device, self._place = ("gpu", "cuda") if has_gpu else ("cpu", "cpu")
        torch.backends.cudnn.benchmark = True  # TensorFlow also searches for the fastest kernel
        batch = spec.batch()
        layout = torch.channels_last if spec.channels_last else torch.contiguous_format
        network = torch_hrnet.build(VARIANTS[spec.variant], batch["heatmaps"].shape[-1])
        if spec.writes_weights:
            weights = {name: value.numpy() for name, value in network.state_dict().items()}
            np.savez(f"{spec.folder}/{WEIGHTS_FILE}", **weights)
        self.network = network.to(self._place, memory_format=layout)
        self.optimizer = torch.optim.Adam(self.network.parameters(), LEARNING_RATE, fused=True)
        self.forward = torch.compile(self.network, backend=spec.compiler) if spec.compiler else self.network
        self.images, self.target = (
            torch.tensor(batch[name], dtype=torch.float32)
            .permute(0, 3, 1, 2)
            .to(self._place)
            .contiguous(memory_format=layout)
            for name in ("image", "heatmaps")
        )
        self.dtype = AUTOCAST[spec.precision]
        self._has_trained = False

    def _autocast(self):
        return torch.autocast(self._place, self.dtype) if self.dtype else contextlib.nullcontext()

    def heatmaps(self) -> np.ndarray:
        self.network.eval()
        with torch.inference_mode(), self._autocast():
            return self.forward(self.images).float().permute(0, 2, 3, 1).cpu().numpy()

    def infer(self, count: int) -> None:
        for _ in range(count):
            self.heatmaps()

    def train(self, count: int) -> dict[str, float]:
        self.network.train()
        for _ in range(count):
            self.optimizer.zero_grad()
            with self._autocast():
                heatmaps = self.forward(self.images)
            loss = (heatmaps.float() - self.target).square().sum((2, 3)).mean()
            loss.backward()
            self.optimizer.step()
            values = {"loss": loss.item()}
        if not self._has_trained:  # only for the first step, because it takes time
            self._has_trained = True
            gradients = [parameter.grad for parameter in self.network.parameters()]
            values["gradient_norm"] = float(torch.nn.utils.get_total_norm(gradients))
        return values

    def matrix_share(self) -> float | None:
        if self.device != "cpu":
            return None
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            self.train(PROFILED_STEPS)
        return kernels.matrix_share({event.key: event.self_cpu_time_total for event in profile.key_averages()})

    def device_peak_mib(self) -> float | None:
        return torch.cuda.max_memory_allocated() / (1 << 20) if self.device == "gpu" else None
