"""A container's network that is not ours to enter."""

from __future__ import annotations

from pathlib import Path

import pytest

from localpach.errors import Refused
from localpach.runtime.network import Network


@pytest.mark.parametrize(("name", "why"), [("netns/none", "/netns/none: No such file"), ("", "no network of its own")])
def test_a_network_that_is_not_here_is_refused(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as caught:
        Network(name and str(tmp_path / name))
    assert "need a daemon of this machine and a localpach that runs as root" in caught.value.message
