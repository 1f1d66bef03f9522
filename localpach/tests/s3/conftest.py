"""Clients of the S3 gateway."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.client import Client
from tests.servers import Server, ServerProcess, token


def address_of(server: Server | ServerProcess) -> str:
    """Where a server's S3 gateway is."""
    found: str = json.loads((server.root / "address").read_text())["s3_address"]
    return found


def connect(server: Server | ServerProcess, key: str, **config: Any) -> Any:
    """A client of boto3 whose access key and secret are `key`."""
    return boto3.client(
        "s3",
        endpoint_url=f"http://{address_of(server)}",
        aws_access_key_id=key,
        aws_secret_access_key=key,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


@pytest.fixture(scope="module")
def boto(server: Server) -> Any:
    """A client of the module's server."""
    return connect(server, token(server.root))


@pytest.fixture
def s3(boto: Any, client: Client) -> Any:
    """A client of the module's server, on which a bucket `master.in` is, and nothing else."""
    client.create_repo("in")
    client.create_branch("in", "master")
    return boto


@pytest.fixture
def address(server: Server) -> str:
    return address_of(server)
