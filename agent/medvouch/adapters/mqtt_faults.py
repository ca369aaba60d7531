"""Why a broker cannot be reached, in one line that says what to do."""

from __future__ import annotations

import re
import ssl

from paho.mqtt.reasoncodes import ReasonCode

from medvouch.adapters.refusals import SESSION_TAKEN_OVER
from medvouch.errors import EnvironmentFault, NetworkFault

SESSION_CLOSED = "session-closed"
_TAKEN_OVER = 0x8E
_CERTIFICATE_ALERTS = re.compile(r"ALERT_(UNKNOWN_CA|\w*CERTIFICATE\w*|ACCESS_DENIED|DECRYPT_ERROR)")


def connect_failed(broker: str, error: Exception) -> EnvironmentFault:
    """The fault behind an exception of connecting to `broker` (host:port)."""
    if isinstance(error, EnvironmentFault):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return NetworkFault(
            "broker-untrusted",
            f"{broker} shows a certificate that is not trusted: {error.verify_message}",
            remedy="check that this is the right broker, and the broker CA in the trust document",
        )
    if isinstance(error, ssl.SSLError):
        return _tls_failed(broker, str(error.reason or error))
    reason = "no answer in time" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or str(error)
    return NetworkFault(
        "broker-unreachable",
        f"{broker}: {reason}",
        remedy="check that the broker runs, and host, port and firewall between here and there",
    )


def _tls_failed(broker: str, reason: str) -> NetworkFault:
    if _CERTIFICATE_ALERTS.search(reason):
        return NetworkFault(
            "client-certificate-refused",
            f"{broker} refuses this client's certificate: {reason}",
            remedy="renew the certificate, or enrol the device again",
        )
    return NetworkFault(
        "broker-tls-failed",
        f"TLS 1.3 with {broker} failed: {reason}",
        remedy="check that the port is the broker's TLS port and that it speaks TLS 1.3",
    )


def connect_refused(broker: str, reason: ReasonCode) -> NetworkFault:
    """A CONNACK that says no."""
    return NetworkFault(
        "connect-refused",
        f"{broker} refuses this client: {reason}",
        remedy="check that the broker knows this client's certificate and speaks MQTT 5",
    )


def subscribe_refused(broker: str, topic: str, reason: ReasonCode) -> NetworkFault:
    """A SUBACK that says no."""
    return NetworkFault(
        "subscribe-refused",
        f"{broker} refuses the subscription to {topic}: {reason}",
        remedy="compare the broker's access list with the topics of this client",
    )


def silent(broker: str, seconds: float) -> NetworkFault:
    """TLS stood, and then nothing came."""
    return NetworkFault(
        "broker-silent",
        f"{broker} did not answer for {seconds:g} s",
        remedy="check that the port is an MQTT 5 broker's and that it is not overloaded",
    )


def taken_over(broker: str) -> NetworkFault:
    """Another client connected as this one."""
    row = SESSION_TAKEN_OVER
    return NetworkFault(row.code, row.meaning, place=broker, remedy=row.remedy)


def session_ended(broker: str, reason: ReasonCode) -> NetworkFault:
    """A DISCONNECT of the broker."""
    if reason.value == _TAKEN_OVER:
        return taken_over(broker)
    return NetworkFault(
        "session-ended", f"{broker} ended the session: {reason}", remedy="look at the broker's log; trying again"
    )


def session_closed(broker: str) -> NetworkFault:
    """The broker closed the connection on purpose and said not why."""
    return NetworkFault(
        SESSION_CLOSED, f"{broker} closed the connection without a reason", remedy="look at its log; trying again"
    )


def connection_lost(broker: str) -> NetworkFault:
    """The connection broke."""
    return NetworkFault(
        "session-lost", f"the connection to {broker} broke", remedy="check broker and network; trying again"
    )


def not_understood(broker: str, error: Exception) -> NetworkFault:
    """It sent what is no MQTT 5, in a way that paho does not survive."""
    return NetworkFault(
        "broker-not-understood",
        f"{broker} sent what is no MQTT 5: {type(error).__name__}: {error}",
        remedy="check that the port is an MQTT 5 broker's, and look at its log; trying again",
    )


def never_answered(broker: str, last_error: str) -> NetworkFault:
    """The connection ended before CONNACK; `last_error` is what paho logged of it."""
    alert = re.search(r"\[SSL: (\w+)\]", last_error)
    if alert:
        return _tls_failed(broker, alert[1])
    return NetworkFault(
        "broker-silent",
        f"{broker} closed the connection before it answered",
        remedy="check that the port is an MQTT 5 broker's, and look at its log",
    )
