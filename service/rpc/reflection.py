"""Reflection: the list of services and the form of their messages, for clients without a .proto file.

Its versions v1 and v1alpha have the same messages under other names, so one servicer answers both.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import _async, reflection, reflection_pb2

ALPHA = reflection.SERVICE_NAME
V1 = "grpc.reflection.v1.ServerReflection"
V1_FILE = "grpc/reflection/v1/reflection.proto"


class Reflection:
    """The reflection service, in both versions. Belongs to the event loop."""

    def __init__(self, services: Iterable[str]) -> None:
        """`services`: the full names of the services besides reflection itself."""
        _describe_v1()
        self._servicer = _async.ReflectionServicer([*services, ALPHA, V1])
        self._stopping = asyncio.Event()

    def handlers(self) -> "Sequence[grpc.GenericRpcHandler[Any, Any]]":
        method = grpc.stream_stream_rpc_method_handler(
            self._answer,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        return [
            grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})
            for name in (V1, ALPHA)
        ]

    def stop(self) -> None:
        """Answer the requests read so far, and end the calls, which clients may keep open for ever."""
        self._stopping.set()

    async def _answer(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for answer in self._servicer.ServerReflectionInfo(self._until_stop(requests), context):
            yield answer

    async def _until_stop(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        incoming = aiter(requests)
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            while True:
                following = asyncio.ensure_future(anext(incoming, None))
                try:
                    await asyncio.wait((stop, following), return_when=asyncio.FIRST_COMPLETED)
                    request = following.result() if following.done() else None
                finally:
                    following.cancel()
                if request is None:
                    return
                yield request
        finally:
            stop.cancel()


def _describe_v1() -> None:
    """Make v1 available for look-up like v1alpha: grpcio-reflection describes only v1alpha."""
    pool: Any = descriptor_pool.Default()
    try:
        pool.FindFileByName(V1_FILE)
    except KeyError:
        v1 = descriptor_pb2.FileDescriptorProto()
        reflection_pb2.DESCRIPTOR.CopyToProto(v1)
        before, after = f".{v1.package}.", f".{V1.rpartition('.')[0]}."
        v1.name, v1.package = V1_FILE, V1.rpartition(".")[0]
        for field in (field for message in v1.message_type for field in message.field if field.type_name):
            field.type_name = field.type_name.replace(before, after)
        for method in v1.service[0].method:
            method.input_type = method.input_type.replace(before, after)
            method.output_type = method.output_type.replace(before, after)
        pool.AddSerializedFile(v1.SerializeToString())
