"""The configuration: what it may say, what it says where it says nothing, and what is wrong with it."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from medvouch.cli.config import Config, UpdateConfig, as_plain, load, zone
from medvouch.cli.parts import device_parts
from medvouch.errors import ConfigFault
from medvouch.update.parts import BY_NAME
from medvouch_sim.site import Site
from support.cli import Caller

EXAMPLE = """\
[device]
model = "MV-100"
serial = "SN-1"
[broker]
host = "broker.example"
[enrolment]
host = "broker.example"
port = 8884
certificate = "a.pem"
key = "b.pem"
"""


def loaded(folder: Path, text: str) -> Config:
    path = folder / "c.toml"
    path.write_text(text)
    return load(path)


def test_defaults(tmp_path: Path) -> None:
    config = loaded(tmp_path, EXAMPLE)
    assert config.tpm.tcti == "device:/dev/tpmrm0"
    assert config.broker.port == 8883
    assert config.database == Path("/var/lib/medvouch/state.db")
    assert config.control_socket == Path("/run/medvouch/control.sock")
    assert config.device.oem_id == "00" * 16
    assert config.update == UpdateConfig()
    assert (config.update.slots, config.update.repository) == (Path("/var/lib/medvouch/slots"), "")


def test_lists_are_bounded_and_kept_in_order(tmp_path: Path) -> None:
    addresses = [f"https://host{number}/a/" for number in range(32)]
    config = loaded(tmp_path, f"{EXAMPLE}[update]\nrepository = 'http://[::1]:8080/'\npayloads = {addresses!r}\n")
    assert config.update.payloads == tuple(addresses)
    assert config.update.repository == "http://[::1]:8080/"
    assert as_plain(config)["update"]["payloads"] == addresses


def test_the_settings_shown_are_settings(tmp_path: Path) -> None:
    plain = as_plain(loaded(tmp_path, EXAMPLE))
    lines = [f"{name} = {value!r}" for name, value in plain.items() if not isinstance(value, dict)]
    for name, table in plain.items():
        if isinstance(table, dict):
            lines += [f"[{name}]", *(f"{key} = {value!r}" for key, value in table.items())]
    assert loaded(tmp_path, "\n".join(lines)) == loaded(tmp_path, EXAMPLE)


def dropped_in(folder: Path, **files: str) -> Config:
    (folder / "conf.d").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "conf.d" / f"{name}.toml").write_text(text)
    return loaded(folder, EXAMPLE)


def test_what_is_dropped_in_goes_before_the_file_in_the_order_of_names(tmp_path: Path) -> None:
    config = dropped_in(
        tmp_path,
        b="state_dir = '/b'\n[device]\nmodel = 'B'\n[update]\npayloads = ['https://b/']\n",
        a="run_dir = '/a'\nstate_dir = '/a'\n[device]\nmodel = 'A'\nhw_version = 'A'\n"
        "[update]\npayloads = ['https://a/', 'https://aa/']\nvendor = 'a.example'\n",
    )
    assert (config.state_dir, config.run_dir) == (Path("/b"), Path("/a"))
    device = config.device
    assert (device.model, device.hw_version, device.serial) == ("B", "A", "SN-1")
    assert (config.update.payloads, config.update.vendor) == (("https://b/",), "a.example")


def test_only_visible_toml_is_dropped_in(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    for name in ("10-a.toml.dpkg-old", ".10-a.toml", "README"):
        (tmp_path / "conf.d" / name).write_text("nonsense")
    assert loaded(tmp_path, EXAMPLE) == load(tmp_path / "c.toml")


def test_a_setting_may_be_completed_by_what_is_dropped_in(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "serial.toml").write_text("device.serial = 'SN-2'")
    assert loaded(tmp_path, EXAMPLE.replace('serial = "SN-1"', "")).device.serial == "SN-2"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("device = 1", "config-wrong-type", "device must be a table"),
        ("[device]\ncolour = 1", "config-unknown-key", "device.colour is not a setting"),
        ("[device", "config-syntax", "conf.d/a.toml: "),
        ("[logs]\nhelper = 'run/s'", "config-wrong-value", "logs.helper must be an absolute path of at most 107 bytes"),
        (f"[logs]\nhelper = '/{'s' * 107}'", "config-wrong-value", "logs.helper must be an absolute path"),
        ("[logs]\nhelper = '/\\n'".replace("'", '"'), "config-wrong-value", "logs.helper must be an absolute path"),
        ("a" + ".a" * 500 + " = 1", "config-unknown-key", "a is not a setting"),
    ],
)
def test_what_is_wrong_with_what_is_dropped_in_is_named(tmp_path: Path, text: str, code: str, said: str) -> None:
    with pytest.raises(ConfigFault) as caught:
        dropped_in(tmp_path, a=text, b=text)
    assert caught.value.code == code
    assert said in str(caught.value)


def test_what_is_dropped_in_is_bounded_and_has_to_be_readable(tmp_path: Path) -> None:
    assert dropped_in(tmp_path, **{f"n{number}": "" for number in range(64)}) == loaded(tmp_path, EXAMPLE)
    with pytest.raises(ConfigFault, match="config-too-many: "):
        dropped_in(tmp_path, one_more="")
    (tmp_path / "conf.d" / "one_more.toml").unlink()
    (tmp_path / "conf.d" / "n1.toml").unlink()
    (tmp_path / "conf.d" / "n1.toml").mkdir()
    with pytest.raises(ConfigFault, match=r"config-unreadable: .*n1\.toml"):
        loaded(tmp_path, EXAMPLE)


def test_the_longest_socket_there_is(tmp_path: Path) -> None:
    path = f"/{'s' * 106}"
    assert dropped_in(tmp_path, a=f"[logs]\nhelper = '{path}'").logs.helper == path


def test_a_conf_d_that_is_no_folder_is_none(tmp_path: Path) -> None:
    (tmp_path / "conf.d").write_text("")
    assert loaded(tmp_path, EXAMPLE).device.serial == "SN-1"


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("[broker]", "[brokers]", "config-unknown-key", "brokers is not a setting; known here: device, broker"),
        ('serial = "SN-1"', 'serial = "SN-1"\ncolour = 1', "config-unknown-key", "device.colour is not a setting"),
        ('serial = "SN-1"', "", "config-missing-key", "device.serial is not set; add device.serial"),
        ("[device]\n", "device = 1\n[x]\n", "config-unknown-key", "x is not a setting"),
        ('[broker]\nhost = "broker.example"', "[[broker]]", "config-wrong-type", "broker must be a table"),
        ("port = 8884", 'port = "8884"', "config-wrong-type", "enrolment.port must be a whole number"),
        ("port = 8884", "port = true", "config-wrong-type", "enrolment.port must be a whole number"),
        ("port = 8884", "port = 0", "config-wrong-value", "enrolment.port must be a number from 1 to 65535"),
        ("port = 8884", "port = 65536", "config-wrong-value", "enrolment.port must be a number from 1 to 65535"),
        ('"MV-100"', "100", "config-wrong-type", "device.model must be text in quotes"),
        ('"MV-100"', '""', "config-wrong-value", "device.model must be 1 to 32 bytes of printable text"),
        ('"MV-100"', '"' + "ä" * 17 + '"', "config-wrong-value", "device.model must be 1 to 32 bytes"),
        ('"MV-100"', '"M\\u001b[2J"', "config-wrong-value", "device.model must be"),
        ('"a.pem"', '""', "config-wrong-value", "enrolment.certificate must be a path"),
        ('"a.pem"', '"a\\u0000b"', "config-wrong-value", "enrolment.certificate must be a path"),
        ('"a.pem"', "7", "config-wrong-type", "enrolment.certificate must be a path in quotes"),
        ("[device]", '[device]\noem_id = "zz"', "config-wrong-value", "device.oem_id must be 32 hexadecimal digits"),
        ("[device]", f'[device]\noem_id = "{"0" * 33}"', "config-wrong-value", "device.oem_id must be 32"),
        ("[device]", "[device", "config-syntax", "mend the TOML"),
        ("port = 8884", f"port = {'9' * 5000}", "config-syntax", "mend the TOML"),
        ("port = 8884", f"port = {'[' * 5000}", "config-syntax", "mend the TOML"),
        (
            "[broker]",
            "[update]\npayloads = 1\n[broker]",
            "config-wrong-type",
            "update.payloads must be a list of texts",
        ),
        ("[broker]", "[update]\npayloads = [1]\n[broker]", "config-wrong-type", "update.payloads must be a list"),
        ("[broker]", "[update]\npayloads = ['']\n[broker]", "config-wrong-value", "update.payloads must be up to 32"),
        *(
            ("[broker]", f"[update]\npayloads = [{text}]\n[broker]", "config-wrong-value", "update.payloads must be")
            for text in (
                '"https://host"',
                '"ftp://host/"',
                '"https:///a/"',
                '"https://user@host/"',
                '"https://host/?a"',
                '"https://host/\\u0000"',
                '"https://host/ä"',
                f'"https://host/{"a" * 2048}"',
                ",".join(['"https://host/"'] * 33),
            )
        ),
        ("[broker]", "[update]\nrepository = 'x'\n[broker]", "config-wrong-value", "update.repository must be an addr"),
        *(
            ("[broker]", f"[update]\n{line}\n[broker]", "config-wrong-value", f"update.{line.split()[0]} must be")
            for line in (
                "repository = 'file://host/x'",
                "repository = 'file:///'",
                "mirrors = ['file:x']",
                "mirrors = ['']",
                "proxy = 'https://proxy:1/'",
                "proxy = 'http://proxy/'",
                "proxy = 'http://u:p@proxy:1/'",
                "proxy = 'http://proxy:65536/'",
                "proxy_credentials = 'relative'",
                "bandwidth = 1023",
                "bandwidth = -1",
                "jitter = -1",
                "jitter = 86401",
                "windows = ['Mon 02:00-02:00']",
                f"windows = {['Mon 02:00-04:00'] * 33!r}",
                "timezone = 'Mars/Olympus'",
                "timezone = 'Europe'",
                "timezone = '/etc/localtime'",
                "timezone = ''",
                "busy_command = ' '",
                'busy_command = "sh -c \'x"',
                f"busy_command = '{'x' * 1025}'",
                'busy_command = "a\\u0000b"',
                "migrate_command = '\"unended'",
                'migrate_command = "a\\u0007b"',
                f"migrate_command = '{'x' * 1025}'",
                "migrate_timeout = 0",
                "migrate_timeout = 86401",
            )
        ),
        *(
            ("[broker]", f"[update]\nreboot_command = {text}\n[broker]", "config-wrong-value", "reboot_command must be")
            for text in ("''", "' '", "'\"unended'")
        ),
        ('"MV-100"', '"\\ud800"', "config-syntax", "mend the TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, code: str, said: str) -> None:
    assert old in EXAMPLE
    with pytest.raises(ConfigFault) as caught:
        loaded(tmp_path, EXAMPLE.replace(old, new, 1))
    assert caught.value.code == code
    assert said in str(caught.value)


def test_where_updates_may_come_from(tmp_path: Path) -> None:
    lines = (
        "repository = 'file:///media/usb/'\nmirrors = ['http://ward.example/', 'file:///srv/x']\n"
        "proxy = 'http://proxy.example:3128/'\nproxy_credentials = '/etc/x'\nbandwidth = 1024\njitter = 86400"
    )
    update = loaded(tmp_path, EXAMPLE.replace("[broker]", f"[update]\n{lines}\n[broker]", 1)).update
    assert update.repository == "file:///media/usb/"
    assert update.mirrors == ("http://ward.example/", "file:///srv/x")
    assert (update.proxy, update.proxy_credentials) == ("http://proxy.example:3128/", "/etc/x")
    assert (update.bandwidth, update.jitter) == (1024, 86400)


def test_when_a_restart_suits(tmp_path: Path) -> None:
    lines = (
        "windows = ['Mon-Fri 02:00-04:00', 'Sun 00:00-24:00']\ntimezone = 'Europe/Berlin'\n"
        "busy_command = '/usr/lib/ward/busy --quiet'"
    )
    update = loaded(tmp_path, EXAMPLE.replace("[broker]", f"[update]\n{lines}\n[broker]", 1)).update
    assert update.windows == ("Mon-Fri 02:00-04:00", "Sun 00:00-24:00")
    assert (update.timezone, update.busy_command) == ("Europe/Berlin", "/usr/lib/ward/busy --quiet")
    assert (zone("UTC"), zone("Europe/Berlin")) == (UTC, ZoneInfo("Europe/Berlin"))


def test_the_product_s_command_for_its_data(tmp_path: Path) -> None:
    lines = "migrate_command = '/usr/lib/gateway/migrate --data \"/var/lib/gate way\"'\nmigrate_timeout = 86400"
    update = loaded(tmp_path, EXAMPLE.replace("[broker]", f"[update]\n{lines}\n[broker]", 1)).update
    assert (update.migrate_command.split()[0], update.migrate_timeout) == ("/usr/lib/gateway/migrate", 86400)


def test_shown_for_people_and_programs(medvouch: Caller, config: Path) -> None:
    called = medvouch("config", "show", "--config", config)
    assert called.code == 0
    assert re.search(r"^tpm\.tcti +device:/nowhere/tpmrm0$", called.out, re.MULTILINE)
    assert medvouch("config", "show", "--config", config, "--json").json["tpm"] == {"tcti": "device:/nowhere/tpmrm0"}


def test_a_complete_configuration_is_fine(medvouch: Caller, config: Path) -> None:
    assert medvouch("config", "check", "--config", config).out == f"{config} is fine\n"
    assert medvouch("config", "check", "--config", config, "--json").json == {"file": str(config), "ok": True}


def test_check_looks_at_the_files(medvouch: Caller, config: Path, site: Site, tmp_path: Path) -> None:
    certificate, key = tmp_path / "bootstrap/unit-1.pem", tmp_path / "bootstrap/unit-1-key.pem"
    pem = key.read_bytes()

    def refused() -> str:
        called = medvouch("config", "check", "--config", config)
        assert called.code == 3
        return called.err

    key.write_bytes(b"no key")
    assert "credential-unusable: " in refused()
    key.unlink()
    assert f"credential-missing: {key} does not exist; install the bootstrap credential" in refused()
    key.write_bytes(pem)
    certificate.unlink()
    assert f"credential-missing: {certificate} does not exist" in refused()
    site.trust_path.unlink()
    assert f"trust-unreadable: {site.trust_path} does not exist; install the trust document" in refused()


def test_check_looks_at_the_trust_document(medvouch: Caller, config: Path, site: Site) -> None:
    whole = site.trust

    def refused(**changes: object) -> str:
        site.trust_path.write_bytes(dataclasses.replace(whole, **changes).encode())  # type: ignore[arg-type]
        called = medvouch("config", "check", "--config", config)
        assert called.code == 3
        return called.err

    for role in ("appraiser", "commander", "enrolment", "owner"):
        others = {name: entry for name, entry in whole.roles.items() if name != role}
        assert f"trust-incomplete: the trust document cannot be used: the role '{role}'" in refused(roles=others)
    broken = whole.roles | {"appraiser": dataclasses.replace(whole.roles["appraiser"], keys=(b"no key",))}
    assert "the role 'appraiser' has an unusable key" in refused(roles=broken)
    edwards = whole.roles | {"owner": dataclasses.replace(whole.roles["owner"], keys=(ED25519_SPKI,))}
    assert "the role 'owner' has no ECC key" in refused(roles=edwards)
    nobody = dict(whole.certificates) | {"broker-ca": ()}
    assert "broker-ca-unusable: " in refused(certificates=nobody)


ED25519_SPKI = bytes.fromhex("302a300506032b6570032100") + bytes(31) + b"\x01"


# --- parts of which there is one -------------------------------------------------------------------------------------


def test_only_the_parts_that_are_configured(tmp_path: Path) -> None:
    assert device_parts(UpdateConfig(), tmp_path) == {}
    settings = UpdateConfig(
        esp_loader="/efi/loader.efi",
        esp_previous="/efi/previous.efi",
        efivars="/sys/efivars",
        fwupd="/usr/bin/fwupdmgr",
    )
    assert device_parts(settings, tmp_path).keys() == set(BY_NAME.values())


@pytest.mark.parametrize("previous", ["", "/efi/loader.efi"])
def test_a_boot_loader_needs_a_place_for_the_one_before(tmp_path: Path, previous: str) -> None:
    with pytest.raises(ConfigFault, match="loader-alone"):
        device_parts(UpdateConfig(esp_loader="/efi/loader.efi", esp_previous=previous), tmp_path)
