"""The life of the plugin's process: from printing its port to ending with the Pulumi engine."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from airgap.provider_protocol.server import Provider

_THREADS = 128  # the engine runs many operations at once, and one that waits for health keeps its thread
_MESSAGE_BYTES = 400 * 1024 * 1024  # as Pulumi's own plugins allow


def _await_end() -> None:
    """Return on SIGTERM or SIGINT, or when the engine's end of our standard input closes because the engine is gone."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())

    def watch_input() -> None:
        while os.read(0, 4096):
            pass
        ended.set()

    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=watch_input, daemon=True).start()
    ended.wait()


def serve(provider: Provider[Any]) -> NoReturn:
    """Serve on a free port of the loopback address, print the port, and end with the engine."""
    limits = [("grpc.max_receive_message_length", _MESSAGE_BYTES), ("grpc.max_send_message_length", _MESSAGE_BYTES)]
    server = grpc.server(ThreadPoolExecutor(max_workers=_THREADS), options=limits)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    _await_end()
    provider.cancel()
    server.stop(grace=1.0).wait()
    # Not sys.exit: that would wait for threads which wait for the service.
    os._exit(0)
