"""Logs by the service that Pachyderm 2.10 brought."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from localpach.proto import logs_pb2, pps_pb2
from tests.client import Client
from tests.helpers import last_job, lines, pfs, pipeline, put, refused

OF_P = {"pipeline": {"pipeline": "p"}}


@pytest.fixture(scope="module")
def ids() -> list[str]:
    """The jobs of `p`, once they ran."""
    return []


@pytest.fixture
def said(server: Any, ids: list[str]) -> Client:
    """With pipelines `p`, of two jobs of one datum each, and `q`, of one; all say what is in their input."""
    client: Client = server.client
    if not ids:
        client.create_repo("in")
        client.create_repo("other")
        put(client, "in", {"/a": b"one\n"})
        put(client, "other", {"/b": b"other\n"})
        pipeline(client, "p", "cat /pfs/in/*", pfs("in"))
        pipeline(client, "q", "cat /pfs/other/*", pfs("other"))
        last_job(client, "q")
        ids.append(last_job(client, "p").job.id)
        put(client, "in", {"/a": b"two\n"})
        ids.append(last_job(client, "p").job.id)
    return client


def ask(client: Client, query: dict[str, Any], tail: bool = False, **filter: Any) -> list[logs_pb2.GetLogsResponse]:
    request = logs_pb2.GetLogsRequest(query={"user": query}, filter=filter, tail=tail)
    return list(client.logs.GetLogs(request))


def told(client: Client, query: dict[str, Any], **filter: Any) -> list[str]:
    """What users' code said."""
    answers = ask(client, query, user_logs_only=True, **filter)
    return [answer.log.pps_log_message.message for answer in answers]


def test_logs_are_those_of_what_is_named(said: Client, ids: list[str]) -> None:
    datum = said.list_datum("p", ids[0])[0].datum.id
    assert told(said, OF_P) == ["one", "two"]
    assert sorted(told(said, {"project": "default"})) == ["one", "other", "two"]
    assert told(said, {"project": "none"}) == []
    assert told(said, {"job": ids[1]}) == ["two"]
    assert told(said, {"pipeline_job": {"pipeline": {"pipeline": "p"}, "job": ids[0]}}) == ["one"]
    assert told(said, {"datum": datum}) == ["one", "two"]
    assert told(said, {"job_datum": {"job": ids[0], "datum": datum}}) == ["one"]
    assert told(said, {"job_datum": {"job": ids[0], "datum": "none"}}) == []
    assert told(said, {"pipeline_datum": {"pipeline": {"pipeline": "q"}, "datum": datum}}) == []
    assert refused(lambda: told(said, {"pipeline": {"pipeline": "none"}}))[0] == "NOT_FOUND"
    assert refused(lambda: told(said, {}))[0] == "UNKNOWN"


def test_each_message_comes_in_all_forms(said: Client, ids: list[str]) -> None:
    answers = ask(said, {"pipeline_job": {"pipeline": {"pipeline": "p"}, "job": ids[0]}})
    job = said.inspect_job(ids[0], "p")
    assert [answer.log.pps_log_message.message for answer in answers] == lines(said, "p", job)
    for answer in answers:
        message = answer.log.pps_log_message
        assert answer.log.native_timestamp == answer.log.verbatim.timestamp == message.ts
        assert json.loads(answer.log.verbatim.line) == MessageToDict(message) == MessageToDict(answer.log.object)


def test_filters_are_of_text_time_and_level(said: Client) -> None:
    everything = [answer.log for answer in ask(said, OF_P)]
    assert told(said, OF_P, regex={"pattern": "^o"}) == ["one"]
    assert told(said, OF_P, regex={"pattern": "^o", "negate": True}) == ["two"]
    assert refused(lambda: told(said, OF_P, regex={"pattern": "("}))[0] == "UNKNOWN"
    assert told(said, OF_P, level=logs_pb2.LOG_LEVEL_ERROR) == []
    assert told(said, OF_P, level=logs_pb2.LOG_LEVEL_DEBUG) == ["one", "two"]
    for place, log in enumerate(everything):
        after = ask(said, OF_P, time_range={"from": log.native_timestamp})
        before = ask(said, OF_P, time_range={"until": log.native_timestamp})
        assert [answer.log for answer in after] == everything[place:]
        assert [answer.log for answer in before] == everything[:place]


def test_pages_lead_to_those_before_and_after(said: Client) -> None:
    everything = [answer.log for answer in ask(said, OF_P)]
    request = logs_pb2.GetLogsRequest(query={"user": OF_P}, filter={"limit": 3}, want_paging_hint=True)
    found: list[logs_pb2.LogMessage] = []
    while answers := list(said.logs.GetLogs(request)):
        hint, *page = answers
        found[:0] = [answer.log for answer in page]
        request = hint.paging_hint.older
    assert found == everything
    newer = [answer.log for answer in said.logs.GetLogs(hint.paging_hint.newer) if answer.HasField("log")]
    assert newer == everything[len(page) :][:3]


def test_the_end_of_a_job_ends_the_logs_that_are_followed(said: Client, ids: list[str]) -> None:
    of_job = {"pipeline_job": {"pipeline": {"pipeline": "p"}, "job": ids[0]}}
    assert ask(said, of_job, tail=True) == ask(said, of_job)
    stream = said.logs.GetLogs(logs_pb2.GetLogsRequest(query={"user": OF_P}, tail=True))
    assert next(stream) == ask(said, OF_P)[0]
    stream.cancel()
    assert refused(lambda: ask(said, {"project": "default"}, tail=True))[0] == "UNIMPLEMENTED"


def test_admins_ask_for_masters_and_users_logs(said: Client) -> None:
    users = logs_pb2.GetLogsRequest(query={"admin": {"user": OF_P}})
    assert list(said.logs.GetLogs(users)) == ask(said, OF_P)
    master = logs_pb2.GetLogsRequest(query={"admin": {"master": {"pipeline": "p"}}})
    old = pps_pb2.GetLogsRequest(pipeline=pps_pb2.Pipeline(name="p"), master=True)
    assert [each.log.pps_log_message for each in said.logs.GetLogs(master)] == list(said.pps.GetLogs(old))
    pod = logs_pb2.GetLogsRequest(query={"admin": {"pod": "p-v1"}})
    code, text = refused(lambda: said.logs.GetLogs(pod))
    assert (code, text.startswith("pod: there are no pods")) == ("UNIMPLEMENTED", True)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('{pipelineName="p"}', ["one", "two"]),
        ('{ suite = "pachyderm" , pipelineName != "p" }', ["other"]),
        ('{pipelineName=~"[pq]", pipelineProject="default"} |= "o"  !~ `"message"\\s*:\\s*"one"`', ["other", "two"]),
        ('{pipelineName!~"[pq]"}', []),
        ('{pipelineName=~"p|x"} |~ "tw."', ["two"]),
        ('{pipelineName="p"} != "tw"', ["one"]),
        ('{app="other"}', []),
        ('{app=""} |= "\\"one\\""', ["one"]),
    ],
)
def test_logql_is_understood_in_its_simple_forms(said: Client, query: str, expected: list[str]) -> None:
    request = logs_pb2.GetLogsRequest(query={"admin": {"logql": query}}, filter={"user_logs_only": True})
    assert sorted(answer.log.pps_log_message.message for answer in said.logs.GetLogs(request)) == expected


@pytest.mark.parametrize(
    "query",
    [
        "",
        "p",
        "{",
        "{}",
        '{a="b"',
        '{a="b"} | json',
        '{a="b"} |= text',
        '{a=~"("}',
        '{a="\\x"}',
        '{a="b",}',
        '{a="b"}{c="d"}',
    ],
)
def test_other_logql_is_refused(said: Client, query: str) -> None:
    request = logs_pb2.GetLogsRequest(query={"admin": {"logql": query}})
    code, text = refused(lambda: said.logs.GetLogs(request))
    assert (code, text[:7]) == ("UNKNOWN", "logql: ")
