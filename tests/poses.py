"""Poses that several tests share."""

import numpy as np

# (17, 3) mm, a person who stands, faces the camera and lifts the right hand; joints of HUMAN36M_17.
STANDING_MM = np.array(
    [
        [0, 0, 0],
        [-130, 0, 20],
        [-140, 430, -60],
        [-150, 850, 40],
        [130, 0, -20],
        [150, 400, -150],
        [160, 820, 50],
        [0, -230, 20],
        [0, -480, 30],
        [0, -570, -20],
        [0, -680, 0],
        [160, -450, 0],
        [260, -200, -40],
        [300, 0, -200],
        [-160, -450, 30],
        [-350, -600, -50],
        [-300, -800, -200],
    ],
    np.float32,
)
