"""What many tests of the S3 gateway do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

BUCKET = "master.in"


def keys(answer: Any) -> list[str]:
    """The keys and common prefixes of a page, in order."""
    found = [each["Key"] for each in answer.get("Contents", [])]
    return sorted([*found, *(each["Prefix"] for each in answer.get("CommonPrefixes", []))])


def content(s3: Any, key: str, **more: Any) -> bytes:
    found: bytes = s3.get_object(Bucket=BUCKET, Key=key, **more)["Body"].read()
    return found


def refusal(call: Callable[..., Any], *arguments: Any, **named: Any) -> str:
    """The code that a call is refused with."""
    with pytest.raises(ClientError) as caught:
        call(*arguments, **named)
    code: str = caught.value.response["Error"]["Code"]
    return code
