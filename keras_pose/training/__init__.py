"""Training: phases, steps, optimizers, checkpoints and devices."""
