"""What runs on a login host when workers behind it cannot dial back: connections to its addresses are handed to a port of its loopback, which leads here.

```
compute node ──▶ login host, its cluster's network ──relay──▶ 127.0.0.1, held by sshd ═══ssh═══▶ driver
```

Its text is sent there and runs with whatever Python is there, so it needs nothing but the standard library of 3.7. It understands nothing of what it
passes on: the links of managers are encrypted, and nobody is let in without a block's key. It ends when its input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys
from typing import Any

CHUNK = 1 << 18
TRIES = 50


def addresses() -> list[str]:
    """IPv4 addresses of this host, without loopback."""
    import fcntl

    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # an interface without such an address
                answer = fcntl.ioctl(probe.fileno(), 0x8915, struct.pack("256s", name.encode()[:15]))  # SIOCGIFADDR
                found.append(socket.inet_ntoa(answer[20:24]))
    return [address for address in dict.fromkeys(found) if not address.startswith("127.")]


def listen(where: list[str], port: int) -> list[socket.socket]:
    """Sockets that listen on one port of several addresses; on any port for 0."""
    if not where:
        raise OSError("this host has no address but loopback")
    failure = OSError()
    for _ in range(TRIES):
        sockets: list[socket.socket] = []
        chosen = port
        try:
            for address in where:
                one = socket.socket()
                sockets.append(one)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind((address, chosen))
                one.listen(1024)
                chosen = one.getsockname()[1]
        except OSError as error:
            failure = error
            for one in sockets:
                one.close()
            if port:
                break
        else:
            return sockets
    raise failure


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Passes on what comes, in one direction, no faster than it is taken."""
    try:
        while True:
            data = await reader.read(CHUNK)
            if not data:
                break
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        with contextlib.suppress(OSError):
            writer.close()


async def serve(target: int, sockets: list[socket.socket]) -> None:
    """Passes connections on until the input ends."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))

    for one in sockets:
        await asyncio.start_server(connected, sock=one)
    over = asyncio.Event()
    loop: Any = asyncio.get_event_loop()

    def heard() -> None:
        if not os.read(0, 4096):
            over.set()

    loop.add_reader(0, heard)
    await over.wait()


def main(arguments: list[str]) -> None:
    """Listens, tells where, and serves. Arguments: the port of loopback, the port to listen on, and addresses instead of all."""
    sockets = listen(arguments[2:] or addresses(), int(arguments[1]))
    port = sockets[0].getsockname()[1]
    print("plait-relay", port, *(one.getsockname()[0] for one in sockets), flush=True)  # noqa: T201 - who started it reads this
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(serve(int(arguments[0]), sockets))


if __name__ == "__main__":
    main(sys.argv[1:])
