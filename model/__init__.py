"""The language model: scripts in, a trained LSTM and a new script out. Runs inside the pipelines' image."""
