"""What every part shares: errors, skeletons, camera geometry, progress, and what commands share. No TensorFlow."""
