"""Evaluation: a model over a split of a data set; every metric in one table, as JSON and as figures."""
