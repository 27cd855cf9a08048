"""The renderer: meshes, cameras, light, rasterisation, and the faults of a real camera."""
