"""``python -m deploy.forward PORT=HOST:PORT …``: pass TCP connections on, for the profile `dashboards`."""

import asyncio
import contextlib
import functools
import sys

CHUNK_BYTES = 1 << 16


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(CHUNK_BYTES):
            target.write(data)
            await target.drain()
    target.close()


async def _serve(host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        there, back = await asyncio.open_connection(host, port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(_copy(reader, back), _copy(there, writer))


async def main(arguments: list[str]) -> None:
    servers = []
    for argument in arguments:
        listen, _, target = argument.partition("=")
        host, _, port = target.partition(":")
        servers.append(await asyncio.start_server(functools.partial(_serve, host, int(port)), "0.0.0.0", int(listen)))
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
