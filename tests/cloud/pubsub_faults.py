"""A Pub/Sub publisher service that answers as a test says: faults over a real connection."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
from google.pubsub_v1 import PublishRequest, PublishResponse
from typing_extensions import override

PUBLISH = "/google.pubsub.v1.Publisher/Publish"
ACCEPT = "OK"


class FaultyPublisher(grpc.GenericRpcHandler):  # type: ignore[misc]  # likewise
    """Answers each publication with the next of some status names, the last of them from then on."""

    def __init__(self, *statuses: str) -> None:
        self._statuses = list(statuses)
        self.requests: list[PublishRequest] = []

    @override
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if handler_call_details.method != PUBLISH:
            return None
        return grpc.unary_unary_rpc_method_handler(
            self._publish,
            request_deserializer=PublishRequest.deserialize,
            response_serializer=PublishResponse.serialize,
        )

    def _publish(self, request: PublishRequest, context: grpc.ServicerContext) -> PublishResponse:
        self.requests.append(request)
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        if status != ACCEPT:
            context.abort(grpc.StatusCode[status], f"said the test: {status}")
        return PublishResponse(message_ids=["1"])


@contextmanager
def serving(publisher: FaultyPublisher) -> Iterator[str]:
    """Give the ``HOST:PORT`` where it answers."""
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, handlers=[publisher])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()
