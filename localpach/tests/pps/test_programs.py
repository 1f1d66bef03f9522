"""Templates and filters that clients send: whatever is in them, they cost a bounded time and stop nobody else."""

from __future__ import annotations

import threading

import pytest
from google.protobuf.empty_pb2 import Empty

from localpach.proto import pps_pb2
from tests.client import Client
from tests.helpers import pfs, pipeline, refused

LIMITS = "it takes more than 1 s or 1024 MiB"


@pytest.fixture(autouse=True)
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are ended after one second of CPU time."""
    monkeypatch.setattr("localpach.api.programs.SECONDS", 1)


@pytest.fixture
def source(client: Client) -> Client:
    client.create_repo("in")
    pipeline(client, "p", "true", pfs("in"))
    return client


def rendered(client: Client, template: str) -> str:
    return str(client.pps.RenderTemplate(pps_pb2.RenderTemplateRequest(template=template)).json)


def kept(client: Client, program: str) -> list[str]:
    return [info.pipeline.name for info in client.pps.ListPipeline(pps_pb2.ListPipelineRequest(jqFilter=program))]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("local f(x) = f(x + 1) tailstrict; f(0)", LIMITS),
        ("std.foldl(function(a, b) a + a, std.range(1, 40), 'xxxx')", LIMITS),
        ("{", "main:1:2 Unexpected: end of file while parsing field definition\n\n{\n\n"),
        ("error 'no'", "RUNTIME ERROR: no\n\tmain:1:1-11\t$\n\tDuring evaluation\t\n"),
        ("function(name) {}", "RUNTIME ERROR: Missing argument: name\n\tTop-level function call\t\n"),
        ("importstr '/etc/hostname'", "a template can't import"),
        ("import 'other.jsonnet'", "a template can't import"),
        ("std.extVar('HOME')", "RUNTIME ERROR: Undefined external variable: HOME"),
    ],
)
def test_a_template_that_cannot_be_rendered_is_refused(client: Client, template: str, said: str) -> None:
    code, details = refused(lambda: rendered(client, template))
    assert code == "UNKNOWN"
    assert details.startswith("template err: ")
    assert said in details


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("def f: f; f", LIMITS),
        ("[range(1000000000)]", LIMITS),
        (".a.b.c[", "error"),
        (".version.x", "Cannot index string"),
        ('error("no")', "no"),
    ],
)
def test_a_filter_that_cannot_be_applied_is_refused(source: Client, program: str, said: str) -> None:
    code, details = refused(lambda: kept(source, program))
    assert code == "UNKNOWN"
    assert details.startswith("jqFilter: ")
    assert said in details


def test_a_filter_may_say_much_and_sees_no_environment(source: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESAME", "open")
    assert kept(source, '("x" * 100000 | debug) as $long | true') == ["p"]
    assert kept(source, "env.SESAME == null and $ENV.SESAME == null") == ["p"]


def test_an_endless_template_holds_up_nobody(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localpach.api.programs.SECONDS", 3)
    endless = threading.Thread(target=refused, args=[lambda: rendered(client, "local f(x) = f(x) tailstrict; f(0)")])
    endless.start()
    client.pps.ListSecret(Empty())
    answered = endless.is_alive()
    endless.join()
    assert answered
