"""Secrets planted where the flows take one are found nowhere else: not in logs, results, the cache, or Prefect's database."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import get_client
from prefect.settings import get_current_settings
from pydantic import SecretStr

from flows.input_data import input_data
from flows.parameters import LoginInSource
from prefect_pachyderm import PachydermCredentials
from prefect_pachyderm.credentials import connect
from prefect_pachyderm.embedded import attach_or_start
from tasks.image.image import RegistryCredentials
from tests import corpora, site

pytestmark = pytest.mark.slow

PASSWORD, SIGNATURE, LOGIN = (f"planted-{where}-9f3a" for where in ("password", "signature", "login"))


def files(*folders: Path) -> Iterator[tuple[str, bytes]]:
    """All files below some folders, but for those of localpach that are there to keep its token."""
    for folder in folders:
        for file in folder.rglob("*"):
            if file.is_file() and file.name not in ("token", "pachctl.json"):
                yield str(file), file.read_bytes()


def test_planted_secrets_stay_where_they_are(
    embedded: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    address, token = attach_or_start(embedded / "localpach")
    PachydermCredentials(address=address, auth_token=SecretStr(token)).save("planted", overwrite=True)
    RegistryCredentials(username="ann", password=SecretStr(LOGIN)).save("planted", overwrite=True)
    monkeypatch.setenv("PACHYDERM_BLOCK", "planted")
    with site.serving() as server:
        server.files["/plays.tar.gz"] = corpora.plays(embedded / "plays.tar.gz").read_bytes()
        host = server.url.removeprefix("http://")
        with pytest.raises(LoginInSource, match=r"put the line .* into ~/\.netrc"):
            input_data(source=f"http://ann:{PASSWORD}@{host}/plays.tar.gz")
        (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login ann password {PASSWORD}\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        server.login = f"Basic {base64.b64encode(f'ann:{PASSWORD}'.encode()).decode()}"
        input_data(source=f"{server.url}/plays.tar.gz?signature={SIGNATURE}")
    with get_client(sync_client=True) as client:
        logged = repr(client.read_logs())
    settings = get_current_settings()
    said = capfd.readouterr()
    told = dict(files(embedded, Path(settings.results.local_storage_path or settings.home)))
    told |= {"the log": caplog.text.encode(), "Prefect's log": logged.encode(), "printed": "".join(said).encode()}
    told["the commits"] = repr(list(connect().list_commit("GoT_scripts"))).encode()
    database = Path(str(settings.server.database.connection_url.get_secret_value()).partition("///")[2])  # type: ignore[union-attr]
    kept = {str(file): file.read_bytes() for file in database.parent.glob(f"{database.name}*")}
    assert kept
    # What a run was asked for is kept with it, a URL's query as well.
    found = [*_found(told, token, PASSWORD, SIGNATURE, LOGIN), *_found(kept, token, PASSWORD, LOGIN)]
    assert found == []


def _found(told: dict[str, bytes], *planted: str) -> list[tuple[str, str]]:
    return [
        (place, secret)
        for place, text in told.items()
        for secret in planted
        if secret.encode() in text or base64.b64encode(secret.encode()) in text
    ]
