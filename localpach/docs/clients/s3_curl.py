"""A day's work with curl, by S3."""

from __future__ import annotations

import os
import subprocess

from steps import Steps, run

URL = f"http://{os.environ['S3_ADDRESS']}/master.curl_s3"
# The credentials come by a file, for others could read a command's line.
CONFIG = f'user = "{os.environ["TOKEN"]}:{os.environ["TOKEN"]}"\naws-sigv4 = "aws:amz:us-east-1:s3"\n'


def curl(url: str, *words: str) -> str:
    """What is answered."""
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--config", "-", *words, url]
    done = subprocess.run(command, input=CONFIG, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stdout or done.stderr)
    return done.stdout


UNSIGNED = ("--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD")

steps: Steps = {
    "create a bucket": lambda: curl(URL, "--request", "PUT"),
    "put an object": lambda: curl(f"{URL}/a", "--request", "PUT", "--data", "one", *UNSIGNED),
    "read it": lambda: curl(f"{URL}/a") == "one",
    "read a part of it": lambda: curl(f"{URL}/a", "--range", "1-1") == "n",
    "list objects": lambda: "<Key>a</Key>" in curl(f"{URL}?list-type=2"),
    "delete it": lambda: curl(f"{URL}/a", "--request", "DELETE"),
    "delete the bucket": lambda: curl(URL, "--request", "DELETE"),
}
run(steps)
