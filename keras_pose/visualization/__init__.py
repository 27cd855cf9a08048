"""Poses drawn on images, and figures."""
