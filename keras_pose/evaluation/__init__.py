"""Evaluation: a model over a split of a data set; every metric in one table, as JSON and as figures."""

from keras_pose.evaluation.peers import open_peer
from keras_pose.evaluation.predictions import (
    BatchPredictor,
    batch_predictor,
    heatmap_predictor,
    to_skeleton,
    with_flip_test,
)
from keras_pose.evaluation.report import format_comparison, format_tables, write_evaluation
from keras_pose.evaluation.result import EvaluationResult, Sample, evaluate_model

__all__ = [
    "BatchPredictor",
    "EvaluationResult",
    "Sample",
    "batch_predictor",
    "evaluate_model",
    "format_comparison",
    "format_tables",
    "heatmap_predictor",
    "open_peer",
    "to_skeleton",
    "with_flip_test",
    "write_evaluation",
]
