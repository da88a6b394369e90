"""A TCP proxy that cuts connections: what load balancers and networks do to long streams."""

import asyncio
import contextlib
import ssl
import threading
from types import TracebackType


class CuttingProxy:
    """Forwards to a local port; cuts a stream (websocket) after so many bytes, the next after twice as many, and so on.

    Gone at the end of ``with``. With ``tls`` it takes TLS connections, and speaks plainly to the port behind it.

    Attributes:
        cut: streams that were cut.
        connections: connections that were made.
    """

    def __init__(self, target: int, after_bytes: int | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._target, self._after, self._tls = target, after_bytes, tls
        self.cut = self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "CuttingProxy":
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls), self._loop
        ).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async def end() -> None:
            self._server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._target)
        asked = await reader.read(1 << 14)
        to_writer.write(asked)
        # Answers of the other kind grow with the jobs that a cluster has had, and would be cut by their number.
        is_stream = b"upgrade: websocket" in asked.lower()
        answers = asyncio.create_task(
            self._copy(to_reader, writer, self._after * (self.cut + 1) if self._after and is_stream else None)
        )
        questions = asyncio.create_task(self._copy(reader, to_writer, None))
        try:
            await asyncio.wait({answers, questions}, return_when=asyncio.FIRST_COMPLETED)
            if answers.done() and not answers.cancelled() and answers.result():
                self.cut += 1
        finally:
            questions.cancel()
            answers.cancel()
            for end in (writer, to_writer):
                with contextlib.suppress(Exception):
                    end.transport.abort()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, limit: int | None) -> bool:
        """Returns whether the limit was reached."""
        copied = 0
        while data := await source.read(1 << 14):
            target.write(data)
            await target.drain()
            copied += len(data)
            if limit and copied > limit:
                return True
        return False
