"""Public datasets, prepared once by TFDS for random access, without TensorFlow."""
