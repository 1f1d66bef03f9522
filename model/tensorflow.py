"""TensorFlow, imported without the lines that its libraries write before they can be told to be silent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _silence() -> Iterator[None]:
    """Drops what is written to the standard error of the process, by whatever library."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


with _silence():
    import tensorflow as tf

    # Keras is loaded when it is first asked for, and its libraries write, too.
    tf.keras.utils  # noqa: B018

__all__ = ["tf"]
