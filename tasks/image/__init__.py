"""The image that the pipelines run."""
