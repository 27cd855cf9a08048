"""The flags of training, which `keras_pose.flags` makes a configuration of."""

from absl import flags

from keras_pose.data.augment import AugmentConfig
from keras_pose.data.pipeline import SHARD_BY
from keras_pose.losses import DECODER_TARGETS, LossConfig
from keras_pose.models.hrnet import VARIANTS
from keras_pose.models.pose_model import PoseModelConfig
from keras_pose.models.soft_argmax import FORMS
from keras_pose.training.experiment import (
    OPTIMIZERS,
    PHASES,
    PRECISIONS,
    STRATEGIES,
    OptimizerConfig,
)
from keras_pose.training.schedule import SCHEDULES

DEFAULT_EPOCHS = {"hrnet": 1, "lifter": 50, "e2e": 8}
DEFAULT_FLIP = {"hrnet": 0.5, "lifter": 0.0, "e2e": 0.0}
AUGMENTATIONS = {
    "brightness": "Largest shift of brightness, in shares of full white.",
    "contrast": "Largest change of the contrast's factor 1.",
    "saturation": "Largest change of the saturation's factor 1.",
    "hue": "Largest turn of the colour circle, in turns; 0.5 gives every colour.",
    "rotation_deg": "Largest turn of the picture, either way, in degrees.",
    "scale": "Largest change of the person's size, in shares of it.",
    "translation": "Largest shift of the picture, in shares of its size.",
    "cut_out": "Largest side of a grey rectangle, in shares of the picture.",
    "blur_px": "Sigma of the strongest blur, in pixels.",
    "noise": "Largest deviation of noise, in shares of full white.",
    "keypoint_noise": "Deviation of the 2D joints that phase lifter sees from their labels, in shares of the crop.",
}


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """All flags of training."""
    _define_run(values)
    _define_scale(values)
    _define_phases(values)
    _define_model(values)
    _define_optimizer(values)
    _define_losses(values)
    for name, text in AUGMENTATIONS.items():
        default = getattr(AugmentConfig(), name)
        flags.DEFINE_float(f"augment_{name}", default, f"{text} 0 is off.", 0, flag_values=values)


def _define_run(values) -> None:
    flags.DEFINE_string("output", "runs/train", "Folder of the run: model, curves, checkpoints.", flag_values=values)
    flags.DEFINE_string(
        "dataset",
        "embedded",
        "embedded, a folder (also gs://...), a pattern of folders or of shards, or a weighted mix a:0.7,b:0.3.",
        flag_values=values,
    )
    flags.DEFINE_integer("batch_size", 32, "Examples a step, over all devices together.", flag_values=values)
    flags.DEFINE_integer("passes", 1, "How often an epoch goes over the training data.", flag_values=values)
    flags.DEFINE_integer("seed", 0, "All randomness follows from it.", flag_values=values)
    flags.DEFINE_enum(
        "strategy", "auto", STRATEGIES, "Devices; auto takes every GPU, and TF_CONFIG's workers.", flag_values=values
    )
    flags.DEFINE_enum(
        "precision",
        "float32",
        ("auto", *PRECISIONS),
        "What the backbone computes in; auto: mixed_bfloat16 where the machine multiplies it, else float32.",
        flag_values=values,
    )
    flags.DEFINE_integer("log_steps", 20, "Steps between two lines of metrics.jsonl.", flag_values=values)
    flags.DEFINE_integer(
        "checkpoint_steps", 0, "Steps between checkpoints within an epoch; 0: after epochs alone.", flag_values=values
    )
    flags.DEFINE_string(
        "init_from",
        "",
        "Start from the weights of this run's folder, or from shipped ones by name; a narrower backbone is widened.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "pretrained",
        "",
        "Start the backbone from this .keras file, written by keras_pose.models.pretrained.",
        flag_values=values,
    )


def _define_scale(values) -> None:
    """What makes large runs fit and fast; docs/scale.md tells when to use which."""
    flags.DEFINE_enum(
        "shard_by",
        "examples",
        SHARD_BY,
        "What workers share out: examples, of files that all read, as one process would; or files, each its own.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "data_service", "", "grpc://HOST:PORT of keras_pose.data.service, which decodes elsewhere.", flag_values=values
    )
    flags.DEFINE_integer(
        "accumulate_steps",
        1,
        "Parts that each device computes its share of a batch in, to save memory.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "sync_batch_norm", False, "Batch norm by the global batch, not by each device's share.", flag_values=values
    )
    flags.DEFINE_bool("jit_compile", False, "Compile the network's two passes by XLA.", flag_values=values)
    flags.DEFINE_integer(
        "threads_per_operation",
        0,
        "Processors that share one operation; 1 for small networks, as e2e.flags has it; 0 takes all.",
        flag_values=values,
    )


def _define_phases(values) -> None:
    flags.DEFINE_list(
        "phases",
        ["hrnet", "e2e"],
        "What to train, in this order: hrnet (the backbone's heatmaps), lifter (2D to 3D, on labelled 2D), e2e (all).",
        flag_values=values,
    )
    for phase in PHASES:
        flags.DEFINE_integer(f"{phase}_epochs", DEFAULT_EPOCHS[phase], f"Epochs of phase {phase}.", flag_values=values)
        flags.DEFINE_float(f"{phase}_learning_rate", 1e-3, f"Learning rate of phase {phase}.", flag_values=values)
        flags.DEFINE_float(
            f"{phase}_flip", DEFAULT_FLIP[phase], f"Share of examples mirrored in phase {phase}.", flag_values=values
        )


def _define_model(values) -> None:
    model = PoseModelConfig()
    flags.DEFINE_enum("variant", model.variant, sorted(VARIANTS), "Size of the HRNet backbone.", flag_values=values)
    flags.DEFINE_string(
        "input_size", None, "HEIGHTxWIDTH of the crops, such as 256x192; by default the data set's.", flag_values=values
    )
    flags.DEFINE_float(
        "soft_argmax_beta", model.soft_argmax_beta, "Sharpness with which joints are read.", flag_values=values
    )
    flags.DEFINE_enum(
        "soft_argmax_form", model.soft_argmax_form, FORMS, "marginal, or flat as the paper prints.", flag_values=values
    )
    flags.DEFINE_bool(
        "soft_argmax_relative",
        model.soft_argmax_relative,
        "Divide each heatmap by its peak first; --soft_argmax_beta is then about 10.",
        flag_values=values,
    )
    flags.DEFINE_integer("width", model.width, "Hidden units of the encoder and decoder.", flag_values=values)
    flags.DEFINE_float("dropout", model.dropout, "Share of hidden units dropped in training.", flag_values=values)
    flags.DEFINE_bool(
        "skip_connection", model.skip_connection, "Add the 2D joints to the decoder's output.", flag_values=values
    )


def _define_optimizer(values) -> None:
    adam = OptimizerConfig()
    flags.DEFINE_enum(
        "optimizer",
        adam.name,
        OPTIMIZERS,
        "adam for all, or muon for the backbone's convolutions and adam for the rest.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "muon_factor",
        adam.muon_factor,
        "With --optimizer=muon: a convolution's kernel moves by this times the learning rate, as a share of its norm.",
        flag_values=values,
    )
    flags.DEFINE_enum("schedule", adam.schedule, SCHEDULES, "Learning rate over each phase.", flag_values=values)
    flags.DEFINE_integer("warmup_steps", 0, "Steps in which each phase's rate grows from 0.", flag_values=values)
    flags.DEFINE_list("step_epochs", [], "With --schedule=step: epochs after which the rate falls.", flag_values=values)
    flags.DEFINE_float(
        "step_factor", adam.step_factor, "With --schedule=step: what the rate is multiplied by.", flag_values=values
    )
    flags.DEFINE_float("clip_norm", 0.0, "Largest norm of the gradient; 0 does not clip.", flag_values=values)
    flags.DEFINE_float(
        "ema", 0.0, "Decay of the average of the weights that is validated and saved; 0: none.", flag_values=values
    )
    flags.DEFINE_float(
        "discriminator_learning_rate",
        adam.discriminator_learning_rate,
        "With --adversarial_weight: the discriminator's learning rate, constant.",
        flag_values=values,
    )


def _define_losses(values) -> None:
    loss = LossConfig()
    weights = {"alpha": "heatmaps (L_joint2D)", "beta": "3D joints (L_encoder)"}
    weights |= {"gamma": "re-projected 2D (L_decoder)", "delta": "left/right bone lengths (L_boneSym3D)"}
    for name, what in weights.items():
        flags.DEFINE_float(name, getattr(loss, name), f"Weight of the loss of {what}.", flag_values=values)
    flags.DEFINE_float(
        "left_right_weight",
        loss.left_right_weight,
        "What is added to the loss of heatmaps for taking left for right, in shares of it; 0 as in the paper.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "adversarial_weight",
        loss.adversarial_weight,
        "Weight of the loss of 3D poses that a small discriminator tells from labelled ones, in phases lifter and e2e; "
        "phase hrnet goes without. 0, as in the paper, trains no discriminator.",
        flag_values=values,
    )
    flags.DEFINE_float("alpha_decay", 1.0, "alpha is multiplied by this after every epoch.", flag_values=values)
    flags.DEFINE_enum(
        "decoder_target",
        loss.decoder_target,
        DECODER_TARGETS,
        "2D that the decoder is trained on: the model's own, as the paper prints it, or the label.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "heatmap_kernel_size",
        loss.heatmap_kernel_size,
        "Cells of the target's Gaussian kernel; 0: a whole Gaussian of peak 1, as HRNet's authors use.",
        flag_values=values,
    )
    flags.DEFINE_float("heatmap_sigma", loss.heatmap_sigma, "Sigma of that Gaussian in cells.", flag_values=values)
