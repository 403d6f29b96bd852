"""A Firestore that answers searches and questions about itself as a test says, over a real connection."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
from google.cloud.firestore_admin_v1.types import Database, GetDatabaseRequest
from google.cloud.firestore_v1.types import RunQueryRequest, RunQueryResponse
from typing_extensions import override

RUN_QUERY = "/google.firestore.v1.Firestore/RunQuery"
GET_DATABASE = "/google.firestore.admin.v1.FirestoreAdmin/GetDatabase"
NO_INDEX = (
    "The query requires an index. You can create it here: "
    "https://console.firebase.google.com/v1/r/project/lab-7/firestore/indexes?create_composite=Cktwcm9q"
)


class FirestoreStandIn(grpc.GenericRpcHandler):  # type: ignore[misc]  # likewise
    """A database with no index of ours.

    Attributes:
        methods: What was called.
    """

    def __init__(self, kind: int, refusal: str = "FAILED_PRECONDITION") -> None:
        self._kind = kind
        self._refusal = refusal
        self.methods: list[str] = []

    @override
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        self.methods.append(handler_call_details.method)
        if handler_call_details.method == RUN_QUERY:
            return grpc.unary_stream_rpc_method_handler(
                self._run_query,
                request_deserializer=RunQueryRequest.deserialize,
                response_serializer=RunQueryResponse.serialize,
            )
        if handler_call_details.method == GET_DATABASE:
            return grpc.unary_unary_rpc_method_handler(
                self._get_database,
                request_deserializer=GetDatabaseRequest.deserialize,
                response_serializer=Database.serialize,
            )
        return None

    def _run_query(self, _: RunQueryRequest, context: grpc.ServicerContext) -> Iterator[RunQueryResponse]:
        context.abort(grpc.StatusCode[self._refusal], NO_INDEX)
        yield RunQueryResponse()

    def _get_database(self, request: GetDatabaseRequest, _: grpc.ServicerContext) -> Database:
        return Database(name=request.name, type_=self._kind, location_id="europe-west4")


@contextmanager
def serving(stand_in: FirestoreStandIn) -> Iterator[str]:
    """Give the ``HOST:PORT`` where it answers."""
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, handlers=[stand_in])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()
