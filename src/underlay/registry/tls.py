"""TLS failures explained: what OpenSSL says, in words that tell what to do."""

from __future__ import annotations

# The message for an answer that is not TLS: mostly it is plain HTTP.
_NO_TLS = frozenset(("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"))
# Alerts of servers that want a certificate of ours, or another one: of TLS 1.3, and of 1.2 by Go and others.
_WANTED = frozenset(
    (
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_NO_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV1_ALERT_UNKNOWN_CA",
    )
)
_OLD = frozenset(("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"))
_PREFIXES = ("TLSV13_ALERT_", "TLSV1_ALERT_", "SSLV3_ALERT_")


def _reason(error: BaseException) -> str:
    """Return OpenSSL's name of a reason, "" for errors of another kind."""
    reason = getattr(error, "reason", "")
    return reason if isinstance(reason, str) and hasattr(error, "library") else ""


def demands_certificate(error: BaseException) -> bool:
    """Tell whether the server refused us for the certificate that we have shown, or not shown."""
    return _reason(error) in _WANTED


def speaks_tls(error: BaseException) -> bool:
    """Tell whether the server speaks TLS, though nothing came of it: it refused us, or we do not trust its certificate."""
    return demands_certificate(error) or bool(getattr(error, "verify_message", ""))


def plainly(error: BaseException) -> str:
    """Return in plain words why TLS did not come about; "" for an error that is not OpenSSL's."""
    verify = getattr(error, "verify_message", "")
    if verify:
        return f"its certificate is not trusted: {verify}"
    reason = _reason(error)
    if reason in _NO_TLS:
        return "it speaks plain HTTP, not TLS"
    if reason in _WANTED:
        return "the server demands a client certificate, and knows none of ours"
    if reason in _OLD:
        return "it speaks no TLS as new as 1.2"
    for prefix in _PREFIXES:
        reason = reason.removeprefix(prefix)
    return f"TLS does not come about: {reason.lower().replace('_', ' ')}" if reason else ""


def hint(error: BaseException) -> str:
    """Return what may be done about it."""
    reason = _reason(error)
    if reason in _NO_TLS:
        return "if it may be asked without TLS, declare it insecure in registries.toml: see the page registries"
    if reason in _WANTED:
        return "put the certificate and its key into certs.d/HOST[:PORT] as client.cert and client.key"
    return (
        "put the certificate of its authority into certs.d, or declare the registry insecure: see the page registries"
    )
