"""TLS for the server's connections, with certificates of clients and with half-close.

asyncio's own TLS closes a connection as soon as the client says that it sends no more, so what a program still prints would
be lost. Here that is the end of the client's side alone, as on other connections (RFC 8446, section 6.1).
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
    """Return the settings of TLS for clients with certificates of an authority. Raises UnderlayError."""
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
    """A connection with TLS. After the handshake, the protocol that `make` returns gets a transport in plain text."""

    def __init__(self, context: ssl.SSLContext, make: Callable[[], asyncio.Protocol]) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.raw: asyncio.Transport
        self.closing = False
        self.inner: asyncio.Protocol | None = None
        self._make = make
        self._timer: asyncio.TimerHandle
        self._paused = False
        self._fin = False  # whether the client has closed its side of the connection
        self._ended = False  # whether `inner` knows that nothing more comes

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
        """Pass on what has come, as long as it is wanted."""
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
        """Read nothing, or go on with what has come already."""
        self._paused = on
        if on:
            self.raw.pause_reading()
        elif not self.raw.is_closing():
            self.raw.resume_reading()
            asyncio.get_running_loop().call_soon(self._read)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        left = memoryview(data).cast("B")
        try:
            while left and not self.closing:
                left = left[self.tls.write(left) :]
        except (ssl.SSLError, OSError):
            self.raw.abort()
            return
        self._flush()

    def close(self) -> None:
        """Say that nothing more comes, and close when that has been sent."""
        if self.closing:
            return
        self.closing = True
        try:
            self.tls.unwrap()
        except (ssl.SSLError, OSError):
            pass  # it waits for the client's, and we do not
        self._flush()
        self.raw.close()

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.raw = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self.raw.abort)

    def data_received(self, data: bytes) -> None:
        """Decrypt."""
        self._incoming.write(data)
        if self.inner is not None or self._shake():
            self._read()

    def eof_received(self) -> bool:
        """Take the end of the connection for the end of what the client says: not all send the alert before it."""
        self._fin = True
        if self.inner is None:
            return False
        self._read()
        return True

    def pause_writing(self) -> None:
        """Pass it on."""
        if self.inner is not None:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        if self.inner is not None:
            self.inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        self._timer.cancel()
        self.closing = True
        if self.inner is not None:
            self.inner.connection_lost(error)


class PlainTransport(asyncio.Transport):
    """What the protocol within a connection with TLS reads from and writes to."""

    def __init__(self, encrypted: Encrypted) -> None:
        super().__init__()
        self._encrypted = encrypted

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return facts of TLS, else of the connection below."""
        tls = self._encrypted.tls
        if name == "sslcontext":
            return tls.context
        if name == "ssl_object":
            return tls
        if name == "peercert":
            return tls.getpeercert()
        return self._encrypted.raw.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Give what comes to another protocol."""
        self._encrypted.inner = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return who gets what comes."""
        return cast("asyncio.BaseProtocol", self._encrypted.inner)

    def pause_reading(self) -> None:
        """Let the client wait."""
        self._encrypted.hold(True)

    def resume_reading(self) -> None:
        """Go on."""
        self._encrypted.hold(False)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        self._encrypted.write(data)

    def can_write_eof(self) -> bool:
        """Return False: our side is closed as a whole."""
        return False

    def get_write_buffer_size(self) -> int:
        """Return how many encrypted bytes wait."""
        return self._encrypted.raw.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Say when the protocol is asked to wait."""
        self._encrypted.raw.set_write_buffer_limits(high, low)

    def is_closing(self) -> bool:
        """Return whether nothing can be sent any more."""
        return self._encrypted.closing or self._encrypted.raw.is_closing()

    def close(self) -> None:
        """Send what waits, and close."""
        self._encrypted.close()

    def abort(self) -> None:
        """Close at once."""
        self._encrypted.closing = True
        self._encrypted.raw.abort()
