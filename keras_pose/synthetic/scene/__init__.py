"""Scenes: surroundings, furniture, and one labelled image of a person in them."""
