"""Inference with trained models: open any format, pass images or video, get poses."""
