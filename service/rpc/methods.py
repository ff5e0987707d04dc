"""Every method of GRPCInferenceService by its name, and what answers it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import grpc
from google.protobuf import message_factory
from google.protobuf.json_format import ParseDict

from trtserve.inference.inflight import Share
from trtserve.rpc import oip, status, wire
from trtserve.rpc.authorize import check_request
from trtserve.rpc.delivery import Delivery
from trtserve.rpc.infer import Infer
from trtserve.rpc.observing import echoed, observe
from trtserve.rpc.open_inference_pb2 import DESCRIPTOR
from trtserve.rpc.request import parse
from trtserve.rpc.streams import Context
from trtserve.services import Services

T = TypeVar("T")

SERVICE = DESCRIPTOR.services_by_name["GRPCInferenceService"]

Behaviour = Callable[[Services, Any], Awaitable[dict[str, Any]]]
"""From the application's services and a request's message to what the answer's message holds."""

BEHAVIOURS: dict[str, Behaviour] = {
    "ServerLive": oip.server_live,
    "ServerReady": oip.server_ready,
    "ServerMetadata": oip.server_metadata,
    "ModelReady": oip.model_ready,
    "ModelMetadata": oip.model_metadata,
    "ModelConfig": oip.model_config,
    "ModelStatistics": oip.model_statistics,
    "RepositoryIndex": oip.repository_index,
    "RepositoryModelLoad": oip.repository_load,
    "RepositoryModelUnload": oip.repository_unload,
    "SystemSharedMemoryStatus": oip.system_status,
    "SystemSharedMemoryRegister": oip.system_register,
    "SystemSharedMemoryUnregister": oip.system_unregister,
    "CudaSharedMemoryStatus": oip.cuda_status,
    "CudaSharedMemoryRegister": oip.cuda_register,
    "CudaSharedMemoryUnregister": oip.cuda_unregister,
    "TraceSetting": oip.trace_setting,
    "LogSettings": oip.log_setting,
}
"""All but inference."""


def handlers(
    services: Services, infer: Infer, delivery: Delivery, count: status.Count
) -> "grpc.GenericRpcHandler[Any, Any]":
    """The handler for a server. It parses messages, so that a malformed one is the client's error."""

    observer = services.observer

    async def model_infer(message: bytes, context: Context) -> bytes:
        observed = observe(observer, context, f"/{SERVICE.full_name}/ModelInfer", len(message))
        return await status.answered(infer.infer(message, context, observed), context, count, observed)

    async def model_stream_infer(messages: AsyncIterator[bytes], context: Context) -> None:
        if trailing := echoed(observer, context):
            context.set_trailing_metadata(trailing)
        await status.answered(infer.stream(messages, context), context, count)

    methods = {
        "ModelInfer": grpc.unary_unary_rpc_method_handler(model_infer),
        "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(model_stream_infer),
    }
    for method in SERVICE.methods:
        if method.name not in methods:
            methods[method.name] = _unary(method, BEHAVIOURS[method.name], services, delivery, count)
    return grpc.method_handlers_generic_handler(SERVICE.full_name, methods)


def _unary(
    method: Any, behaviour: Behaviour, services: Services, delivery: Delivery, count: status.Count
) -> "grpc.RpcMethodHandler[Any, Any]":
    request_class = message_factory.GetMessageClass(method.input_type)
    answer_class = message_factory.GetMessageClass(method.output_type)

    path = f"/{SERVICE.full_name}/{method.name}"

    async def answer(message: bytes, context: Context, share: Share) -> bytes:
        share.grow_to(len(message))
        wire.check_fields(message, with_files=method.name == "RepositoryModelLoad")
        request = parse(request_class, message)
        check_request(services.guard, path, context, request)
        told = await behaviour(services, request)
        written: bytes = ParseDict(told, answer_class()).SerializeToString()
        share.grow_to(len(written))
        return written

    async def call(message: bytes, context: Context) -> bytes:
        observed = observe(services.observer, context, path, len(message))
        return await status.answered(
            delivery.only(partial(answer, message, context)), context, count, observed
        )

    return grpc.unary_unary_rpc_method_handler(call)
