"""Experiments on the project itself: ablation, the lifter beside its baseline, scaling, speed."""
