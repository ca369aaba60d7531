"""The topic grammar `medvouch/v1/{device}/…` (DESIGN §9), both ways: built here, and parsed here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from medvouch.errors import InputError

ROOT = "medvouch/v1"
SESSION = "$session"
"""Where a Transport says what became of its own session."""

EnrolmentStep = Literal["request", "challenge", "proof", "answer", "sanitised", "released"]
_STEPS: tuple[EnrolmentStep, ...] = get_args(EnrolmentStep)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_NONCE = re.compile(r"(?:[0-9a-f]{2}){8,64}")


@dataclass(frozen=True)
class Status:
    """`status/{kind}`: retained, with the will."""

    device: str
    kind: str


@dataclass(frozen=True)
class State:
    """`state/{kind}`: retained JSON."""

    device: str
    kind: str


@dataclass(frozen=True)
class Event:
    """`event/{kind}`."""

    device: str
    kind: str


@dataclass(frozen=True)
class Evidence:
    """`evidence/{kind}`: CBOR."""

    device: str
    kind: str


@dataclass(frozen=True)
class Result:
    """`result/{nonce}`: the verdict on evidence, to the device."""

    device: str
    nonce: bytes


@dataclass(frozen=True)
class Command:
    """`cmd/{name}/{id}`: signed, to the device."""

    device: str
    name: str
    id: str


@dataclass(frozen=True)
class Response:
    """`res/{name}/{id}`: what became of a command."""

    device: str
    name: str
    id: str


@dataclass(frozen=True)
class Enrolment:
    """`medvouch/v1/enrol/{device}/{step}`."""

    device: str
    step: EnrolmentStep


Topic = Status | State | Event | Evidence | Result | Command | Response | Enrolment

_KINDS: dict[str, type[Status] | type[State] | type[Event] | type[Evidence]] = {
    "status": Status,
    "state": State,
    "event": Event,
    "evidence": Evidence,
}
_CALLS: dict[str, type[Command] | type[Response]] = {"cmd": Command, "res": Response}


def status(device: str) -> str:
    """`status/agent`."""
    return f"{ROOT}/{device}/status/agent"


def state(device: str, kind: str) -> str:
    """`state/{kind}`."""
    return f"{ROOT}/{device}/state/{kind}"


def event(device: str, kind: str) -> str:
    """`event/{kind}`."""
    return f"{ROOT}/{device}/event/{kind}"


def evidence(device: str, kind: str) -> str:
    """`evidence/{kind}`."""
    return f"{ROOT}/{device}/evidence/{kind}"


def result(device: str, nonce: bytes) -> str:
    """`result/{nonce in hex}`."""
    return f"{ROOT}/{device}/result/{nonce.hex()}"


def results(device: str) -> str:
    """The filter of all results of a device."""
    return f"{ROOT}/{device}/result/+"


def command(device: str, name: str, identifier: str) -> str:
    """`cmd/{name}/{id}`."""
    return f"{ROOT}/{device}/cmd/{name}/{identifier}"


def commands(device: str) -> str:
    """The filter of all commands of a device."""
    return f"{ROOT}/{device}/cmd/+/+"


def response(device: str, name: str, identifier: str) -> str:
    """`res/{name}/{id}`."""
    return f"{ROOT}/{device}/res/{name}/{identifier}"


def enrolment(device: str, step: EnrolmentStep) -> str:
    """`medvouch/v1/enrol/{device}/{step}`; `+` for the device makes a filter."""
    return f"{ROOT}/enrol/{device}/{step}"


def parse(topic: str) -> Topic:
    """What a topic is; InputError `topic-malformed` where it is none of the grammar."""
    if not topic.startswith(f"{ROOT}/"):
        raise _malformed(topic)
    levels = topic.split("/")[2:]
    match levels:
        case ["enrol", device, step] if step in _STEPS and _named(device):
            return Enrolment(device, step)
        case [device, "result", nonce] if _NAME.fullmatch(device) and _NONCE.fullmatch(nonce):
            return Result(device, bytes.fromhex(nonce))
        case [device, "status" | "state" | "event" | "evidence" as group, kind] if _named(device, kind):
            return _KINDS[group](device, kind)
        case [device, "cmd" | "res" as group, name, identifier] if _named(device, name, identifier):
            return _CALLS[group](device, name, identifier)
    raise _malformed(topic)


def _named(*levels: str) -> bool:
    return all(_NAME.fullmatch(level) for level in levels)


def _malformed(topic: str) -> InputError:
    return InputError("topic-malformed", f"{topic[:200]!r} is no topic of {ROOT}")
