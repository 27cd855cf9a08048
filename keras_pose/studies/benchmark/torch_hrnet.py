"""The official HRNet pose network rewritten in PyTorch, to compare speed and results.

Modules have the names of the official code (leoxiaobin/deep-high-resolution-net.pytorch), so its checkpoints fit.
"""

from collections.abc import Sequence

import torch
from torch import nn

from keras_pose.models.hrnet import IMAGENET_MEAN, IMAGENET_STD, HRNetVariant


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, relu: bool = False) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(outputs), *([nn.ReLU()] if relu else [])]


class Residual(nn.Module):
    """Convolutions of the given (outputs, kernel) added to the input."""

    def __init__(self, inputs: int, shape: list[tuple[int, int]]):
        super().__init__()
        self.count = len(shape)
        before = inputs
        for i, (outputs, kernel) in enumerate(shape, start=1):
            conv, bn = conv_bn(before, outputs, kernel)
            setattr(self, f"conv{i}", conv)
            setattr(self, f"bn{i}", bn)
            before = outputs
        self.downsample = nn.Sequential(*conv_bn(inputs, before, 1)) if before != inputs else nn.Identity()

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = y if i == self.count else torch.relu(y)
        return torch.relu(y + self.downsample(x))


class Exchange(nn.Module):
    """Residual units on every branch, then each of the first `outputs` branches becomes a sum over all."""

    def __init__(self, widths: Sequence[int], units: int, outputs: int):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(Residual(width, [(width, 3), (width, 3)]) for _ in range(units))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self.path(widths, j, i) for j in range(len(widths))) for i in range(outputs)
        )

    @staticmethod
    def path(widths: Sequence[int], source: int, target: int) -> nn.Module:
        if source == target:
            return nn.Identity()
        if source > target:
            up = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
            return nn.Sequential(*conv_bn(widths[source], widths[target], 1), up)
        steps = []
        for step in range(source, target):
            last = step == target - 1
            outputs = widths[target] if last else widths[source]
            steps.append(nn.Sequential(*conv_bn(widths[source], outputs, 3, stride=2, relu=not last)))
        return nn.Sequential(*steps)

    def forward(self, xs: list) -> list:
        xs = [branch(x) for branch, x in zip(self.branches, xs, strict=True)]
        return [torch.relu(sum(path(x) for path, x in zip(row, xs, strict=True))) for row in self.fuse_layers]


class TorchHRNet(nn.Module):
    """(B, 3, H, W) RGB in 0..255 to (B, J, H/4, W/4)."""

    def __init__(self, row: HRNetVariant, num_joints: int):
        super().__init__()
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        self.conv1, self.bn1 = conv_bn(3, row.stem_channels, 3, stride=2)
        self.conv2, self.bn2 = conv_bn(row.stem_channels, row.stem_channels, 3, stride=2)
        c = row.bottleneck_channels
        shape = [(c, 1), (c, 3), (4 * c, 1)]
        inputs = [row.stem_channels] + [4 * c] * (row.bottlenecks - 1)
        self.layer1 = nn.Sequential(*(Residual(n, shape) for n in inputs))
        widths = row.widths
        self.transition1 = nn.ModuleList(
            [
                nn.Sequential(*conv_bn(4 * c, widths[0], 3, relu=True)),
                nn.Sequential(nn.Sequential(*conv_bn(4 * c, widths[1], 3, stride=2, relu=True))),
            ]
        )
        for stage in (3, 4):
            new = nn.Sequential(nn.Sequential(*conv_bn(widths[stage - 2], widths[stage - 1], 3, stride=2, relu=True)))
            setattr(self, f"transition{stage - 1}", nn.ModuleList([*[nn.Identity()] * (stage - 1), new]))
        for stage, count in zip((2, 3, 4), row.modules, strict=True):
            outputs = [stage] * (count - 1) + [1 if stage == 4 else stage]
            modules = [Exchange(widths[:stage], row.units, n) for n in outputs]
            setattr(self, f"stage{stage}", nn.Sequential(*modules))
        self.final_layer = nn.Conv2d(widths[0], num_joints, 1)

    def forward(self, image):
        x = (image / 255 - self.mean) / self.std
        x = torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))
        x = self.layer1(x)
        xs = self.stage2([step(x) for step in self.transition1])
        xs = self.stage3([*xs, self.transition2[-1](xs[-1])])
        xs = self.stage4([*xs, self.transition3[-1](xs[-1])])
        return self.final_layer(xs[0])


@torch.no_grad()
def randomize(network: nn.Module, seed: int) -> None:
    """Random values for every weight and running statistic that keep activations in a sensible range."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.normal_(0, 0.5, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.3, 0.9, generator=generator)
            module.bias.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)


def build(row: HRNetVariant, num_joints: int, seed: int = 0) -> TorchHRNet:
    """The network for inference, with the random weights of `seed`."""
    network = TorchHRNet(row, num_joints).eval()
    randomize(network, seed)
    return network
