"""Scenes: surroundings, furniture, and one labeled image of a person in them."""
