"""What each phase trains: the parts of the model, and how a batch runs through them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
from keras import ops

from keras_pose.core.errors import UserError
from keras_pose.models.pose_discriminator import build_pose_discriminator
from keras_pose.models.pose_model import (
    PoseStatistics,
    build_keypoint_model,
    build_lifter,
    build_pose_model,
    mean_keypoints,
)
from keras_pose.models.tensorflow_speed import collections_paused, one_variable_name
from keras_pose.models.widening import can_widen, widen
from keras_pose.training.experiment import Experiment

PARTS = ("hrnet", "encoder", "decoder")
FINAL_LAYER = "final_layer"  # of hrnet: one heatmap per joint
TRAINED_PARTS = {"hrnet": ("hrnet",), "lifter": ("encoder", "decoder"), "e2e": PARTS}


@collections_paused()
@one_variable_name()
def build_model(experiment: Experiment, statistics: dict) -> keras.Model:
    """The model that a run saves: the whole one, or the parts its phases train (see `Experiment.kind`)."""
    if experiment.kind == "keypoints":
        return build_keypoint_model(experiment.model)
    build = build_lifter if experiment.kind == "lifter" else build_pose_model
    return build(experiment.model, PoseStatistics.from_dict(statistics))


def build_discriminator(experiment: Experiment, statistics: dict) -> keras.Model | None:
    """The discriminator of the adversarial prior; None if its weight is zero. Only checkpoints contain it."""
    if not experiment.loss.adversarial_weight:
        return None
    return build_pose_discriminator(PoseStatistics.from_dict(statistics).pose_3d, seed=experiment.train.seed)


def parts_of(model: keras.Model) -> dict[str, keras.Model]:
    """The `PARTS` that the model has, by name."""
    layers = {layer.name: layer for layer in model.layers}
    return {name: layers[name] for name in PARTS if name in layers}


@dataclass(frozen=True)
class Phase:
    """One phase of a run on its model: `name` is a key of `TRAINED_PARTS`.

    A `discriminator` adds its score of `pose_3d` to the outputs: `pose_score` (B,).
    """

    name: str
    model: keras.Model
    discriminator: keras.Model | None = None

    @property
    def has_pose_3d(self) -> bool:
        return "encoder" in TRAINED_PARTS[self.name]

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        parts = parts_of(self.model)
        return [variable for name in TRAINED_PARTS[self.name] for variable in parts[name].trainable_variables]

    def labels(self, batch: dict) -> dict:
        """The batch for the losses; for a lifter, `seen_valid` marks the labeled joints of its input."""
        return {**batch, "seen_valid": batch["keypoint_valid"]} if self.name == "lifter" else batch

    def forward(self, batch: dict, training: bool) -> dict:
        """The outputs (docs/architecture.md) of the trained parts and the discriminator for a batch.

        The lifter sees labeled keypoints, or `seen_keypoints_2d` if augmentation disturbed them. Unlabeled ones are set
        to their mean, which the network sees as zero.
        """
        outputs = self._outputs(batch, training)
        if self.discriminator is None:
            return outputs
        return {**outputs, "pose_score": self.discriminator(outputs["pose_3d"])}

    def _outputs(self, batch: dict, training: bool) -> dict:
        if self.name == "e2e":
            return self.model(ops.cast(batch["image"], "float32"), training=training)
        parts = parts_of(self.model)
        if self.name == "hrnet":
            heatmaps = parts["hrnet"](ops.cast(batch["image"], "float32"), training=training)
            return {"heatmaps": heatmaps, "keypoints_2d": self.model.get_layer("soft_argmax")(heatmaps)}
        seen = batch.get("seen_keypoints_2d", batch["keypoints_2d"])
        keypoints_2d = ops.where(batch["keypoint_valid"][..., None] > 0, seen, mean_keypoints(self.model))
        pose_3d = parts["encoder"](keypoints_2d, training=training)
        decoder = parts["decoder"]
        inputs = [pose_3d, keypoints_2d] if len(decoder.inputs) == 2 else pose_3d
        reprojected_2d = decoder(inputs, training=training)
        return {"seen_keypoints_2d": keypoints_2d, "pose_3d": pose_3d, "reprojected_2d": reprojected_2d}


def dropout_layers(model: keras.Model) -> Iterator[keras.layers.Dropout]:
    """All dropout layers, including those of nested models."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from dropout_layers(layer)
        elif isinstance(layer, keras.layers.Dropout) and layer.rate > 0:
            yield layer


def synchronize_batch_norm(model: keras.Model) -> None:
    """Makes every batch norm, including those of nested models, train with the statistics of all replicas."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            synchronize_batch_norm(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


def transfer_weights(
    source: keras.Model, target: keras.Model, name: str, same_joints: bool, without: Sequence[str] = ()
) -> list[str]:
    """Copies the weights of the parts that both models share; returns the names of what is left unchanged.

    A narrower backbone with the same layers is widened: it computes the same as before (`models.widening`).

    Args:
        name: names the source of the weights in errors.
        same_joints: whether both skeletons have the same joints in the same order. If not, even with equal counts,
            weights per joint cannot be used: only the backbone is copied, without its last layer, which has one
            heatmap per joint.
        without: parts (`encoder`) and layers of parts (`hrnet/final_layer`) of `target` that keep their own weights,
            named as in the returned list. A part that `target` lacks is ignored.

    Raises:
        UserError: they share no part and `without` is empty, a layer is missing or has another size, or `without` names
            something that does not exist.
    """
    sources, targets = parts_of(source), parts_of(target)
    excluded = _check_excluded(without, targets)
    if not same_joints:
        excluded |= {f"hrnet/{FINAL_LAYER}", *(part for part in PARTS if part != "hrnet")}
    shared = [part for part in PARTS if part in sources and part in targets and part not in excluded]
    if not shared and not without:
        what = "part" if same_joints else "part, with the same joints,"
        raise UserError(f"{name} has no {what} of this model ({', '.join(targets)}); choose another run")
    kept = []
    for part in shared:
        known, ours = _layers_with_weights(sources[part]), _layers_with_weights(targets[part])
        for layer_name in [layer for layer in ours if f"{part}/{layer}" in excluded]:
            kept.append(f"{part}/{layer_name}")
            for layers in (known, ours):
                layers.pop(layer_name, None)
        is_wider = part == "hrnet" and can_widen(_shapes(known), _shapes(ours))
        for layer_name, layer in ours.items():
            found, shapes = _shapes(known).get(layer_name), _shapes(ours)[layer_name]
            if found == shapes:
                layer.set_weights(known[layer_name].get_weights())
            elif is_wider:
                layer.set_weights(widen(known[layer_name].get_weights(), layer.get_weights()))
            else:
                raise UserError(
                    f"{name} has another architecture: {part}/{layer_name} has {found}, here {shapes}; give the "
                    "--variant and --width of its resolved.flags or recipe.flags, or a wider --variant"
                )
    return kept + [part for part in targets if part not in shared]


def _check_excluded(without: Sequence[str], targets: dict[str, keras.Model]) -> set[str]:
    for name in without:
        part, _, layer = name.partition("/")
        layers = _layers_with_weights(targets[part]) if part in targets else {}
        if part not in PARTS or (layer and layer not in layers):
            raise UserError(
                f"--init_without: this model has no {name}; name parts ({', '.join(PARTS)}) "
                f"or layers of them, such as hrnet/{FINAL_LAYER}"
            )
    return set(without)


def _layers_with_weights(model: keras.Model) -> dict[str, keras.Layer]:
    return {layer.name: layer for layer in model.layers if layer.weights}


def _shapes(layers: dict[str, keras.Layer]) -> dict[str, list[tuple[int, ...]]]:
    return {name: [tuple(weight.shape) for weight in layer.weights] for name, layer in layers.items()}
