"""TLS for the API server: clients need certificates, and may close their side of a connection before the server's.

The TLS of asyncio closes the whole connection when the client sends close_notify, so the output that a program writes after
the end of its input would be lost. Here close_notify ends the client's side alone (RFC 8446, section 6.1).
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, cast

from ..errors import UnderlayError

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 60.0  # seconds for a handshake
_PIECE = 1 << 16  # bytes that are decrypted at once


def client_certificates(authority: str, certificate: str, key: str) -> ssl.SSLContext:
    """Return the server's TLS settings: its certificate and key, and the authority that must have signed the certificates
    of clients; all are paths of PEM files. Raises UnderlayError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(authority)
    except (OSError, ssl.SSLError) as error:
        raise UnderlayError(f"cannot load the certificates: {error}") from None
    return context


class Encrypted(asyncio.Protocol):
    """The TLS side of a connection.

    After the handshake `make` is called for the protocol of the plain side, which gets a `PlainTransport`.
    """

    def __init__(self, context: ssl.SSLContext, make: Callable[[], asyncio.Protocol]) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.raw: asyncio.Transport
        self.closing = False
        self.inner: asyncio.Protocol | None = None
        self._make = make
        self._timer: asyncio.TimerHandle
        self._paused = False
        self._fin = False  # whether the client has closed its side of the TCP connection
        self._ended = False  # whether `inner` was told that the client has closed its side

    def _flush(self) -> None:
        if self._outgoing.pending:
            self.raw.write(self._outgoing.read())

    def _shake(self) -> bool:
        """Go on with the handshake; returns whether it is done."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except (ssl.SSLError, OSError):
            self._flush()  # the alert
            self.raw.close()
            return False
        self._timer.cancel()
        self._flush()
        self.inner = self._make()
        self.inner.connection_made(PlainTransport(self))
        return True

    def _read(self) -> None:
        """Decrypt what the client has sent and pass it to the plain protocol, unless that has paused reading."""
        while not (self._paused or self._ended or self.closing or self.inner is None):
            try:
                data = self.tls.read(_PIECE)
            except ssl.SSLWantReadError:
                if not self._fin:
                    break
                data = b""
            except ssl.SSLZeroReturnError:
                data = b""
            except (ssl.SSLError, OSError):
                self.raw.abort()
                return
            if data:
                self.inner.data_received(data)
            else:
                self._ended = True
                if not self.inner.eof_received():
                    self.close()
        self._flush()

    # The plain side.

    def hold(self, on: bool) -> None:
        """Pause reading from the client, or resume it, beginning with what has been received already."""
        self._paused = on
        if on:
            self.raw.pause_reading()
        elif not self.raw.is_closing():
            self.raw.resume_reading()
            asyncio.get_running_loop().call_soon(self._read)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt data and send it to the client."""
        left = memoryview(data).cast("B")
        try:
            while left and not self.closing:
                left = left[self.tls.write(left) :]
        except (ssl.SSLError, OSError):
            self.raw.abort()
            return
        self._flush()

    def close(self) -> None:
        """Send close_notify, and close the connection when all data is sent."""
        if self.closing:
            return
        self.closing = True
        try:
            self.tls.unwrap()
        except (ssl.SSLError, OSError):
            pass  # the client's close_notify, for which this would wait, does not matter any more
        self._flush()
        self.raw.close()

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timer of the handshake."""
        self.raw = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self.raw.abort)

    def data_received(self, data: bytes) -> None:
        """Go on with the handshake, or decrypt."""
        self._incoming.write(data)
        if self.inner is not None or self._shake():
            self._read()

    def eof_received(self) -> bool:
        """Treat the end of the TCP stream as the end of the client's side: not all clients send close_notify before it."""
        self._fin = True
        if self.inner is None:
            return False
        self._read()
        return True

    def pause_writing(self) -> None:
        """Notify the plain protocol."""
        if self.inner is not None:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        """Notify the plain protocol."""
        if self.inner is not None:
            self.inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """Notify the plain protocol."""
        self._timer.cancel()
        self.closing = True
        if self.inner is not None:
            self.inner.connection_lost(error)


class PlainTransport(asyncio.Transport):
    """The transport of the plain protocol: it reads and writes what is encrypted on the connection."""

    def __init__(self, encrypted: Encrypted) -> None:
        super().__init__()
        self._encrypted = encrypted

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a property of the TLS session, or of the TCP connection."""
        tls = self._encrypted.tls
        if name == "sslcontext":
            return tls.context
        if name == "ssl_object":
            return tls
        if name == "peercert":
            return tls.getpeercert()
        return self._encrypted.raw.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Pass received data to another protocol from now on."""
        self._encrypted.inner = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that gets received data."""
        return cast("asyncio.BaseProtocol", self._encrypted.inner)

    def pause_reading(self) -> None:
        """Stop passing on received data; the client has to wait."""
        self._encrypted.hold(True)

    def resume_reading(self) -> None:
        """Pass on received data again."""
        self._encrypted.hold(False)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send data."""
        self._encrypted.write(data)

    def can_write_eof(self) -> bool:
        """Return False: the server cannot close its side of a connection alone."""
        return False

    def get_write_buffer_size(self) -> int:
        """Return the number of encrypted bytes that are not sent yet."""
        return self._encrypted.raw.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the numbers of unsent bytes at which the protocol is paused and resumed."""
        self._encrypted.raw.set_write_buffer_limits(high, low)

    def is_closing(self) -> bool:
        """Return whether the connection is closing or closed."""
        return self._encrypted.closing or self._encrypted.raw.is_closing()

    def close(self) -> None:
        """Close the connection when all data is sent."""
        self._encrypted.close()

    def abort(self) -> None:
        """Close the connection at once; unsent data is lost."""
        self._encrypted.closing = True
        self._encrypted.raw.abort()
