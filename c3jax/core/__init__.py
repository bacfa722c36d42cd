"""Code that all layers share: records, random keys, the mesh, config checks, logs."""
