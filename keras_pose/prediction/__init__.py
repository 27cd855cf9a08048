"""What keras_pose.predict does with its inputs: which files and people, results of photos, results of videos."""
