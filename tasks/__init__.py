"""Prefect tasks: each module talks to one outside system."""

import os

# gRPC reads this when it is imported. What its own lines tell of, a sentence of ours tells, too.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
