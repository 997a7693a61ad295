"""Connections of clients: lines of JSON in and out, none of which lets the server wait."""

from __future__ import annotations

import json
import selectors
import socket
from collections.abc import Iterator
from typing import Any


class Connection:
    """One client. ``is_open`` says whether it is still there."""

    def __init__(self, peer: socket.socket, selector: selectors.BaseSelector) -> None:
        self.peer = peer
        self.selector = selector
        self.is_open = True
        self.is_closing = False
        self._read = b""
        self._unsent = b""
        peer.setblocking(False)  # noqa: FBT003 - the socket's own
        selector.register(peer, selectors.EVENT_READ, self)

    def receive(self) -> Iterator[dict[str, Any]]:
        """The messages that have arrived whole."""
        try:
            while piece := self.peer.recv(1 << 20):
                self._read += piece
            self.close()
        except BlockingIOError:
            pass
        except OSError:
            self.close()
        *lines, self._read = self._read.split(b"\n")
        for line in lines:
            yield json.loads(line)

    def send(self, message: dict[str, Any], *, is_last: bool) -> None:
        """Send a message, as the client takes it."""
        self._unsent += json.dumps(message).encode() + b"\n"
        self.is_closing |= is_last
        self.flush()

    def flush(self) -> None:
        """Send what the client takes now."""
        if not self.is_open:
            return
        try:
            while self._unsent:
                self._unsent = self._unsent[self.peer.send(self._unsent[: 1 << 20]) :]
        except BlockingIOError:
            self.selector.modify(self.peer, selectors.EVENT_READ | selectors.EVENT_WRITE, self)
            return
        except OSError:
            self.close()
            return
        if self.is_closing:
            self.close()
        else:
            self.selector.modify(self.peer, selectors.EVENT_READ, self)

    def close(self) -> None:
        """The end of it."""
        if self.is_open:
            self.is_open = False
            self.selector.unregister(self.peer)
            self.peer.close()
