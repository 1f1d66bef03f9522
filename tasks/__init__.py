"""Prefect tasks: each module talks to one outside system."""
