"""Evaluation: scores a model on a split of a data set, with all metrics in one table, as JSON and as figures."""
