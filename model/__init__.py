"""The language model: scripts in, a trained LSTM and a new script out. Runs inside the pipelines' image."""

import os

# NumPy multiplies vectors here, TensorFlow has the cores: BLAS threads of its own would only wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
