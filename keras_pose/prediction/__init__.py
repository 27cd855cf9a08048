"""The parts of keras_pose.predict: its inputs, and the results for photos and for videos."""
