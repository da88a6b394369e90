"""Pages, and long lines of JSON, are parsed in a child process that may die: CPU time and memory of each are bounded.

Lexbor takes quadratic time on deeply nested elements: 60,000 of them, 300 kB, take 11 s, twice as many 52 s. No parser
stops by itself, so the child is killed, and the page is a counted reject.
"""

import os
import pickle
import resource
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

CPU_SECONDS = 5.0  # of a page, and as many again for each 2 MiB of it; 1 MiB of usual HTML takes 0.3 to 0.6 s
BYTES_PER_CPU_LIMIT = 2 << 20
MEMORY_BYTES = 2 << 30  # address space of the child; the largest page that is read has 64 MiB
_LENGTH = struct.Struct("!Q")
OUT_OF_MEMORY = 86  # the child's exit code


class TooHard(Exception):
    """A page could not be parsed within its bounds; the message says which one."""


def parsed(kind: str, source: Any) -> Any:
    """What the parser of this kind (see :func:`parsers`) makes of the source, within the bounds.

    Raises:
        TooHard: it took too much time or memory, or the parser crashed.
    """
    with _lock:
        child = _children.get(os.getpid())
        if child is None or child.poll() is not None:
            child = _children[os.getpid()] = _started()
        assert child.stdin is not None and child.stdout is not None
        try:
            _send(child.stdin, (kind, source, _seconds(source)))
            done, result = _receive(child.stdout)
        except (EOFError, BrokenPipeError):
            code = child.wait()
            raise TooHard(_why(code, source)) from None
    if not done:
        raise TooHard(result)
    return result


_lock = threading.Lock()
_children: dict[int, subprocess.Popen[bytes]] = {}  # by the process that started it: a fork must not share one


def _started() -> subprocess.Popen[bytes]:
    code = f"import sys; sys.path[:] = sys.argv[1:]; from etl.read.bounded import serve; serve({MEMORY_BYTES})"
    return subprocess.Popen([sys.executable, "-c", code, *sys.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _why(code: int, source: Any) -> str:
    if code == OUT_OF_MEMORY:
        return f"parsing it took more than {MEMORY_BYTES >> 20:,} MiB of memory"
    if code == -signal.SIGPROF:
        return f"parsing it took more than {_seconds(source):.3g} s of CPU time"
    return f"its parser was ended ({signal.Signals(-code).name})" if code < 0 else f"its parser ended with code {code}"


def _seconds(source: Any) -> float:
    return CPU_SECONDS * (1 + len(source[0] if isinstance(source, tuple) else source) / BYTES_PER_CPU_LIMIT)


def _send(stream: Any, value: Any) -> None:
    data = pickle.dumps(value)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def _receive(stream: Any) -> Any:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    data = stream.read(size := _LENGTH.unpack(head)[0])
    if len(data) < size:
        raise EOFError
    return pickle.loads(data)


def parsers() -> dict[str, Callable[[Any], Any]]:
    """The parsers by kind."""
    from etl.read import books, markdown, markup, structured

    return {
        "html": markup.html_page,
        "markdown": markdown.markdown_page,
        "notebook": books.notebook_page,
        "epub": books.epub_page,
        "json": structured.picked,
    }


def serve(memory_bytes: int) -> None:
    """The child: parses what comes in until its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the parent's to handle
    parse = parsers()
    parse["html"]("<p>warm</p>"), parse["markdown"]("warm")  # loads the libraries before memory is limited
    statm = Path("/proc/self/statm")  # its first number: pages of address space
    used = int(statm.read_text().split()[0]) * resource.getpagesize() if statm.exists() else 0
    resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    try:
        while True:
            kind, source, seconds = _receive(stdin)
            signal.setitimer(signal.ITIMER_PROF, seconds)  # its signal ends the process
            try:
                result = True, parse[kind](source)
            except MemoryError:
                raise
            except Exception as error:  # whatever a parser does not like is a reject that says so
                result = False, f"{type(error).__name__}: {str(error)[:200]}"
            signal.setitimer(signal.ITIMER_PROF, 0)
            _send(stdout, result)
    except EOFError:
        return
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
