"""Experiments on the project itself: ablation, lifter and baseline, scaling, speed."""
