"""Prefect tasks: the steps of this example."""
