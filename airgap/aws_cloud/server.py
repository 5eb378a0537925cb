"""The launcher's process: moto's server, metadata and names, until it is told to stop."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.route53.models import route53_backends
from werkzeug.serving import make_server

# Imported for what they change in moto.
from airgap.aws_cloud import (
    addresses,
    amis,  # noqa: F401
    authorization,
    buckets,  # noqa: F401
    commands,  # noqa: F401
    engine,
    firewall,
    folder,
    instances,
    metadata,
    names,
    volumes,
)


def serve() -> None:
    """Start everything, say so, and wait for SIGTERM or SIGINT; then remove everything.

    What an earlier life left behind is removed first: moto's memory of it is gone.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    folder.ROOT.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.note_running(os.getpid())
    try:
        remove_everything()
        addresses.claim()
        authorization.enable(folder.credentials())
        described = metadata.server(metadata.Metadata(instances.role_of, authorization.mint), instances.at)
        threading.Thread(target=described.serve_forever, daemon=True).start()
        for server in names.servers(names.Resolver(instances.vpc_at, _zones)):
            server.start_thread()
        api = make_server(
            addresses.METADATA,
            addresses.API_PORT,
            DomainDispatcherApplication(create_backend_app),
            threaded=True,
            request_handler=MotoRequestHandler,
        )
        threading.Thread(target=api.serve_forever, daemon=True).start()
        folder.note_ready()
        stop.wait()
    finally:
        remove_everything()
        addresses.release()
        folder.forget_running()


def remove_everything() -> None:
    """Remove everything that this life or an earlier one made, except the deployer's key."""
    engine.remove_everything()
    firewall.remove()
    volumes.remove_all()
    for path in (folder.INSTANCES, folder.VOLUMES):
        shutil.rmtree(path, ignore_errors=True)


def _zones() -> list[Any]:
    return list(route53_backends[authorization.ACCOUNT][authorization.PARTITION].zones.values())
