"""The last process of `make up`: says that all the others answer, once the deployments are made. Prefect takes its time to be
imported, so that signs of life begin before."""

from __future__ import annotations

import signal
from importlib import import_module

from flows.silence import SignsOfLife

if __name__ == "__main__":
    with SignsOfLife("the start") as signs:
        print(import_module("flows.deployments").make_ready(signs.say), flush=True)
    # When one process ends, honcho ends the others.
    signal.pause()
