"""The configuration: TOML, read once into a frozen Config. What it does not know it refuses, by name."""

from __future__ import annotations

import dataclasses
import re
import shlex
import tomllib
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from medvouch.adapters.files import read_bounded
from medvouch.errors import ConfigFault, InputError, StorageFault
from medvouch.formats.eat import HW_MODEL_BYTES
from medvouch.formats.manufacturing import MAX_SERIAL, MAX_VERSION
from medvouch.update.windows import MAX_WINDOWS, Windows

DEFAULT_PATH = Path("/etc/medvouch/medvouch.toml")
DROP_INS = "conf.d"
"""Beside the file: `*.toml` there are merged over it in the order of their names."""
MAX_DROP_INS = 64
MAX_CONFIG_BYTES = 1024 * 1024
"""Of each file."""
MAX_NAME = 256
MAX_URL = 2048
MAX_URLS = 32


class Rule(NamedTuple):
    """What a value must be beyond its type."""

    holds: Callable[[Any], object]
    wanted: str


def _text(limit: int, least: int = 1) -> Rule:
    """As the claims and manifests that it goes into take it: bounded in UTF-8."""
    wanted = f"{least} to {limit} bytes of printable text"
    return Rule(lambda value: least <= len(value.encode()) <= limit and value.isprintable(), wanted)


OemId = Annotated[str, Rule(re.compile("[0-9a-fA-F]{32}").fullmatch, "32 hexadecimal digits (16 bytes)")]
Port = Annotated[int, Rule(lambda v: 0 < v < 1 << 16, "a number from 1 to 65535")]
Host = Annotated[str, _text(253)]
_PLACE = re.compile(r"https?://[^/?#@\s]+/[^?#\s]*")
"""With the slash after the host: `https://host` would be the beginning of `https://host.elsewhere/` too."""


def _url(value: str) -> bool:
    return len(value) <= MAX_URL and value.isascii() and value.isprintable() and _PLACE.fullmatch(value) is not None


Url = Annotated[str, Rule(lambda v: v == "" or _url(v), "an address such as https://host/path/, or empty")]
Urls = Annotated[
    tuple[str, ...],
    Rule(lambda v: len(v) <= MAX_URLS and all(map(_url, v)), f"up to {MAX_URLS} addresses such as https://host/path/"),
]
_STICK = re.compile(r"file:///[^?#\s]+")
"""A repository in a directory."""


def _base(value: str) -> bool:
    plain = len(value) <= MAX_URL and value.isascii() and value.isprintable()
    return _url(value) or (plain and _STICK.fullmatch(value) is not None)


_BASES = "such as https://host/path/ or file:///path/"
Base = Annotated[str, Rule(lambda v: v == "" or _base(v), f"an address {_BASES}, or empty")]
Bases = Annotated[
    tuple[str, ...], Rule(lambda v: len(v) <= MAX_URLS and all(map(_base, v)), f"up to {MAX_URLS} addresses {_BASES}")
]
_PROXY = re.compile(r"http://[^/?#@\s:]+:([1-9][0-9]{0,4})/?")
ProxyUrl = Annotated[
    str,
    Rule(
        lambda v: v == "" or ((found := _PROXY.fullmatch(v)) and int(found[1]) < 1 << 16),
        "http://host:port/, or empty",
    ),
]
Bytes = Annotated[int, Rule(lambda v: v == 0 or 1024 <= v < 1 << 40, "0, or 1024 and more")]
MAX_COMMAND = 1024


def _is_command(value: str) -> bool:
    """Whether it can be taken apart as a shell would."""
    try:
        return len(value) <= MAX_COMMAND and value.isprintable() and bool(shlex.split(value))
    except ValueError:
        return False


_A_COMMAND = f"a command of up to {MAX_COMMAND} characters"
Command = Annotated[str, Rule(lambda v: v == "" or _is_command(v), _A_COMMAND)]


def _are_windows(values: tuple[str, ...]) -> bool:
    try:
        Windows.parse(values)
    except InputError:
        return False
    return True


MaintenanceWindows = Annotated[tuple[str, ...], Rule(_are_windows, f"up to {MAX_WINDOWS} like 'Mon-Fri 02:00-04:00'")]


def zone(name: str) -> tzinfo:
    """A time zone of this system. Raises ValueError."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (OSError, ZoneInfoNotFoundError) as error:
        raise ValueError(f"there is no time zone {name!r}") from error


def _is_zone(name: str) -> bool:
    try:
        zone(name)
    except ValueError:
        return False
    return True


TimeZone = Annotated[str, Rule(_is_zone, "a time zone that this system knows, such as UTC or Europe/Berlin")]

MAX_JITTER_S = 24 * 3600
MAX_PATIENCE_S = 24 * 3600
Patience = Annotated[int, Rule(lambda v: 0 < v <= MAX_PATIENCE_S, f"a number from 1 to {MAX_PATIENCE_S}")]
Seconds = Annotated[int, Rule(lambda v: 0 <= v <= MAX_JITTER_S, f"a number from 0 to {MAX_JITTER_S}")]
AnyFile = Annotated[
    str, Rule(lambda v: v == "" or (v.startswith("/") and v.isprintable()), "an absolute path, or empty")
]
MAX_SOCKET_PATH = 107
"""sun_path of unix(7), without its NUL."""
Socket = Annotated[
    str,
    Rule(
        lambda v: v == "" or (v.startswith("/") and v.isprintable() and len(v.encode()) <= MAX_SOCKET_PATH),
        f"an absolute path of at most {MAX_SOCKET_PATH} bytes, or empty",
    ),
]
File = Annotated[Path, Rule(lambda v: v != Path() and str(v).isprintable(), "a path")]


@dataclass(frozen=True)
class DeviceConfig:
    """`[device]`: what the maker calls it (RFC 9711 hardware claims); `oem_id` is a 16-byte random OEM id in hex."""

    model: Annotated[str, _text(HW_MODEL_BYTES[1])]
    serial: Annotated[str, _text(MAX_SERIAL)]
    hw_version: Annotated[str, _text(MAX_VERSION)] = "1.0"
    oem_id: OemId = "00000000000000000000000000000000"


@dataclass(frozen=True)
class SoftwareConfig:
    """`[software]`: name and version of the installed system; by default those of /etc/os-release."""

    name: Annotated[str, _text(MAX_NAME, 0)] = ""
    version: Annotated[str, _text(MAX_NAME, 0)] = ""


@dataclass(frozen=True)
class TpmConfig:
    """`[tpm]`: how to reach the TPM, in tpm2-tss's notation."""

    tcti: Annotated[str, _text(MAX_NAME)] = "device:/dev/tpmrm0"


@dataclass(frozen=True)
class LogsConfig:
    """`[logs]`: the measurement logs; systemd's and IMA's may be absent on a system that keeps none.

    Where `helper` names the socket of the installer helper, it reads them for the agent.
    """

    uefi: File = Path("/sys/kernel/security/tpm0/binary_bios_measurements")
    systemd: File = Path("/run/log/systemd/tpm2-measure.log")
    ima: File = Path("/sys/kernel/security/ima/binary_runtime_measurements")
    helper: Socket = ""


@dataclass(frozen=True)
class BrokerConfig:
    """`[broker]`: the MQTT 5 broker of devices in service (TLS 1.3, client certificates)."""

    host: Host
    port: Port = 8883


@dataclass(frozen=True)
class EnrolmentConfig:
    """`[enrolment]`: where and with which bootstrap credential a device enrols (PEM files)."""

    host: Host
    port: Port
    certificate: File
    key: File


@dataclass(frozen=True)
class UpdateConfig:
    """`[update]`: where releases come from and where they go; without a `repository` there are no updates.

    `root`: the TUF root that the image came with. `payloads`: what the address of a payload has to begin with.
    `mirrors` are tried before the repository, in this order; they may be directories. `proxy`: an HTTP proxy, with
    `user:password` in the file `proxy_credentials`; the environment is not asked. `bandwidth`: bytes a second at most,
    0 for all there is. `jitter`: seconds by which a look that nobody asked for comes later at most. `vendor` and
    `class_name`: the maker's domain and the device class that a manifest has to be for. `windows`, by the clock of
    `timezone`: when a restart suits, always where there is none. `busy_command`, run without a shell: exit status 0
    where the clinical workload may be interrupted, 1 where not; all else counts as not, and is told. `migrate_command`
    makes the product's data that of this release (`expand`) and takes away what only the one before needs (`contract`):
    it is run without a shell, with that word and both formats after it, for `migrate_timeout` seconds at most.

    Parts of which there is one, each where the device has it, else empty: `esp_loader`, the boot loader on the EFI
    system partition, and `esp_previous`, where the one before it is kept for the firmware's second boot entry;
    `efivars`, the directory of db and dbx; `fwupd`, the program fwupdmgr. Where `helper` names the socket of the
    installer helper, it writes them for the agent.
    """

    slots: File = Path("/var/lib/medvouch/slots")
    repository: Base = ""
    mirrors: Bases = ()
    proxy: ProxyUrl = ""
    proxy_credentials: AnyFile = ""
    bandwidth: Bytes = 0
    jitter: Seconds = 300
    root: File = Path("/etc/medvouch/root.json")
    payloads: Urls = ()
    vendor: Annotated[str, _text(MAX_NAME, 0)] = ""
    class_name: Annotated[str, _text(MAX_NAME, 0)] = ""
    windows: MaintenanceWindows = ()
    timezone: TimeZone = "UTC"
    busy_command: Command = ""
    reboot_command: Annotated[str, Rule(_is_command, _A_COMMAND)] = "systemctl reboot"
    migrate_command: Command = ""
    migrate_timeout: Patience = 600
    esp_loader: AnyFile = ""
    esp_previous: AnyFile = ""
    efivars: AnyFile = ""
    fwupd: AnyFile = ""
    helper: Socket = ""


@dataclass(frozen=True)
class Config:
    """All of `medvouch.toml`."""

    device: DeviceConfig
    broker: BrokerConfig
    enrolment: EnrolmentConfig
    state_dir: File = Path("/var/lib/medvouch")
    run_dir: File = Path("/run/medvouch")
    trust: File = Path("/etc/medvouch/trust.cbor")
    software: SoftwareConfig = field(default_factory=SoftwareConfig)
    tpm: TpmConfig = field(default_factory=TpmConfig)
    logs: LogsConfig = field(default_factory=LogsConfig)
    update: UpdateConfig = field(default_factory=UpdateConfig)

    @property
    def database(self) -> Path:
        """The agent's state."""
        return self.state_dir / "state.db"

    @property
    def control_socket(self) -> Path:
        """Where the running agent listens for the command line."""
        return self.run_dir / "control.sock"


def load(path: Path) -> Config:
    """Read and check a configuration file and what is dropped in beside it.

    ConfigFault names the first thing wrong.
    """
    document = _document(path)
    for drop_in in _drop_ins(path.parent / DROP_INS):
        document = _merged(document, _document(drop_in))
    config: Config = _build(Config, document, "")
    return config


def _drop_ins(folder: Path) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix == ".toml" and not path.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        detail = f"{folder}: {error.strerror}"
        raise ConfigFault("config-unreadable", detail, remedy="let the agent's user read it") from error
    if len(found) > MAX_DROP_INS:
        detail = f"{folder} has more than {MAX_DROP_INS} files"
        raise ConfigFault("config-too-many", detail, remedy="put what belongs together into one file")
    return found


def _document(path: Path) -> dict[str, Any]:
    try:
        data = read_bounded(path, MAX_CONFIG_BYTES)
    except StorageFault as error:
        remedy = "write one, or name another with --config FILE"
        raise ConfigFault("config-unreadable", error.detail, remedy=remedy) from error
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # also not UTF-8, and what Python limits: numbers, nesting
        raise ConfigFault("config-syntax", f"{path}: {error}", remedy="mend the TOML") from error


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` before `under`: setting by setting in tables (none of a Config has another in it), lists as a whole."""
    merged = under | over
    for name in under.keys() & over.keys():
        if isinstance(under[name], dict) and isinstance(over[name], dict):
            merged[name] = under[name] | over[name]
    return merged


def _build(kind: type[Any], table: dict[str, Any], path: str) -> Any:
    hints = typing.get_type_hints(kind, include_extras=True)
    known = {entry.name: entry for entry in dataclasses.fields(kind)}
    for name in table:
        if name not in known:
            remedy = f"known here: {', '.join(known)}"
            raise ConfigFault("config-unknown-key", f"{path}{name} is not a setting", remedy=remedy)
    for name, entry in known.items():
        required = entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
        if required and name not in table:
            raise ConfigFault("config-missing-key", f"{path}{name} is not set", remedy=f"add {path}{name}")
    return kind(**{name: _value(hints[name], value, f"{path}{name}") for name, value in table.items()})


def _value(kind: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise ConfigFault("config-wrong-type", f"{path} must be a table", remedy=f"write [{path}]")
        return _build(kind, value, f"{path}.")
    plain, rule = typing.get_args(kind)  # all others are annotated with their rule
    written, said = _TYPES[typing.get_origin(plain) or plain]
    if type(value) is not written or (written is list and not _texts(value)):
        raise ConfigFault("config-wrong-type", f"{path} must be {said}", remedy="mend the value")
    typed = plain(value)
    if not rule.holds(typed):
        raise ConfigFault("config-wrong-value", f"{path} must be {rule.wanted}", remedy="mend the value")
    return typed


def _texts(values: Any) -> bool:
    return all(type(value) is str for value in values)


_TYPES: dict[Any, tuple[type, str]] = {
    int: (int, "a whole number"),
    str: (str, "text in quotes"),
    Path: (str, "a path in quotes"),
    tuple: (list, "a list of texts in quotes"),
}
"""How TOML has it, and how that is called."""


def as_plain(config: Config) -> dict[str, Any]:
    """The effective settings, as JSON-compatible values."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return list(value)
        return str(value) if isinstance(value, Path) else value

    result: dict[str, Any] = plain(dataclasses.asdict(config))
    return result
