"""The renderer: meshes, cameras, light, rasterization, and the faults of a real camera."""
