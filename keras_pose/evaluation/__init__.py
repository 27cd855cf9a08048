"""Evaluation: scores a model on a split of a data set, and reports all metrics as tables, JSON and figures."""
