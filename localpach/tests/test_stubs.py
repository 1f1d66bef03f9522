"""Our messages and services are those of Pachyderm's wire, and every RPC of them is answered.

`wire-2.7.txt` is the wire of python-pachyderm 7.6.0, from its descriptors: fields with number, label and type, values of
enumerations, and RPCs with request and response.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from localpach import proto
from tests.client import Client
from tests.rpcs import rpc
from tests.servers import serving

WIRE = Path(__file__).with_name("wire-2.7.txt")
# What later versions changed, in a way that old clients do not notice: the answer of one RPC has got a field, and the messages
# of two that 2.7 does not serve have got others.
CHANGED_SINCE = (
    "rpc pfs_v2.API/DeleteRepo ",
    "field pps_v2.ClusterDefaults.",
    "field pps_v2.GetClusterDefaultsResponse.",
    "field pps_v2.SetClusterDefaultsRequest.",
    "field pps_v2.SetClusterDefaultsResponse.",
)
TYPES = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}
FILES: list[FileDescriptor] = [
    importlib.import_module(f"{proto.__name__}.{module.name}").DESCRIPTOR
    for module in pkgutil.iter_modules(proto.__path__)
]
SERVICES: list[ServiceDescriptor] = [service for file in FILES for service in file.services_by_name.values()]


def test_the_wire_is_pachyderms() -> None:
    ours = {line for file in FILES for line in wire(file)}
    missing = [line for line in WIRE.read_text().splitlines() if line not in ours]
    assert not [line for line in missing if not line.startswith(CHANGED_SINCE)]


def wire(file: FileDescriptor) -> Iterator[str]:
    """Lines as those of the table."""
    for message in file.message_types_by_name.values():
        yield from message_lines(message)
    yield from enum_lines(file.enum_types_by_name.values())
    for service in file.services_by_name.values():
        for method in service.methods:
            request = ("stream " if method.client_streaming else "") + method.input_type.full_name
            response = ("stream " if method.server_streaming else "") + method.output_type.full_name
            yield f"rpc {service.full_name}/{method.name} ({request}) ({response})"


def message_lines(message: Descriptor) -> Iterator[str]:
    for field in message.fields:
        label = "repeated" if field.is_repeated else "optional"
        named = field.message_type or field.enum_type
        choice = f" oneof {field.containing_oneof.name}" if field.containing_oneof else ""
        yield f"field {field.full_name} {field.number} {label} {named.full_name if named else TYPES[field.type]}{choice}"
    for nested in message.nested_types:
        yield from message_lines(nested)
    yield from enum_lines(message.enum_types)


def enum_lines(enums: Iterable[EnumDescriptor]) -> Iterator[str]:
    for enum in enums:
        for value in enum.values:
            yield f"value {enum.full_name}.{value.name} {value.number}"


@pytest.fixture(scope="module")
def open_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a server that asks for no token."""
    with serving(tmp_path_factory.mktemp("localpach"), auth=False) as server:
        yield server.client


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.full_name)
def test_every_rpc_is_served_or_refused_with_a_sentence(open_client: Client, service: ServiceDescriptor) -> None:
    for method in service.methods:
        request = GetMessageClass(method.input_type)()
        call = rpc(open_client.channel, method)
        # A stream may have nothing to tell.
        timeout = 1 if method.server_streaming else 30
        try:
            answer = call(iter([request]) if method.client_streaming else request, timeout=timeout)
            if method.server_streaming:
                next(answer, None)
                answer.cancel()
        except grpc.RpcError as error:
            assert error.code() != grpc.StatusCode.INTERNAL, (method.name, error.details())
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                assert len((error.details() or "").split()) > 4, (method.name, error.details())
