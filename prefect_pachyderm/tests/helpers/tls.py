"""A proxy that takes TLS off what comes and hands it to a server that speaks none, as an ingress does."""

from __future__ import annotations

import asyncio
import ssl
import threading

import trustme

HOST = "localhost"


class Proxy:
    """At `address`, until it is closed."""

    def __init__(self, target: str, certificate: trustme.LeafCert) -> None:
        self._host, _, self._port = target.partition(":")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["h2"])
        certificate.configure_cert(context)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(context)))
        self._thread.start()
        assert self._ready.wait(10)

    async def _serve(self, context: ssl.SSLContext) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=context)
        self.address = f"{HOST}:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._over.wait()
        server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection(self._host, int(self._port))
        await asyncio.gather(_copy(reader, here), _copy(there, writer))

    def close(self) -> None:
        """Ends it and all connections through it."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while chunk := await source.read(65536):
            target.write(chunk)
            await target.drain()
    except OSError:
        pass
    finally:
        target.close()
