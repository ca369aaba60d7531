"""Builds `firmware_fixtures/`, byte for byte the same every time: what virtual gateways boot, and test keys.

Everything follows from the constants here; bytes that only have to be there come out of SHAKE-256 over a label.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from medvouch.formats.uefi import CERT_SHA256, CERT_X509, SignatureList
from medvouch_sim import suit_vectors, uki

FIXTURES = Path(__file__).resolve().parents[2] / "firmware_fixtures"
RELEASES = ("1.0.0", "1.1.0")
SECURITY_EPOCHS = {"1.0.0": 1, "1.1.0": 2}
"""The security epoch that each release belongs to."""
ROLES = (
    "tpm-vendor-root", "tpm-vendor-issuing", "other-vendor-root", "other-vendor-issuing", "maker-ca", "enrolment",
    "enrolment-ca", "bootstrap-ca", "broker-ca", "appraiser", "commander", "release", "release-2", "release-3",
    "quality", "director", "owner", "support", "manufacturer", "tuf-root-1", "tuf-root-2", "tuf-root-3", "tuf-targets",
    "tuf-releases-1", "tuf-releases-2", "tuf-releases-3", "tuf-snapshot", "tuf-timestamp",
)  # fmt: skip
"""Whose test keys there are: `keys/test-ROLE.pem`."""
BOOT_FILE = "EFI/Linux/medvouch.efi"
"""The image that the boot option names, on the EFI system partition."""
FIRMWARE_VERSION = "medvouch virtual firmware 1.0"

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_NOT_BEFORE, _NOT_AFTER = datetime(2025, 1, 1, tzinfo=UTC), datetime(2045, 1, 1, tzinfo=UTC)
_FFS2 = UUID("8c8ce578-8a3d-4f1c-9935-896185c32dd3")
_KERNEL_BYTES, _VOLUME_BYTES, _PROGRAM_BYTES = 12 << 10, 4 << 10, 2 << 10
_LOAD_OPTION_ACTIVE = 1

_README = """# Firmware fixtures

What virtual gateways boot, and the test keys of the simulated organisations. All files here, but
for [`captures/`](captures/README.md), are made by

    make fixtures

(`python -m medvouch_sim.fixtures`) from nothing but the constants in `simulator/medvouch_sim/fixtures.py`: no file was
taken from a real machine, a distribution or a vendor, and a rebuild gives the same bytes (a test compares them).

- `releases/VERSION/medvouch.efi`: a unified kernel image, a valid PE32+ file with the sections that systemd-stub
  measures. Kernel and initrd are SHAKE-256 output; its program returns at once.
- `releases/VERSION/rootfs/`: the programs of the root file system that IMA measures. `roothash=` in the image's command
  line is a SHA-256 over them and stands for the root hash of dm-verity.
- `machine/firmware-volume-*.bin`: UEFI firmware volumes, a header and SHAKE-256 output; `machine/firmware-version.txt`.
- `machine/*.var`: contents of UEFI variables. PK, KEK and db hold self-signed test certificates (Ed25519, whose
  signatures are deterministic), dbx the SHA-256 of one image. The virtual firmware measures them and does not verify
  images.
- `keys/test-ROLE.pem`: ECDSA P-256 private keys, derived from SHA-256 of a label. **Published test keys: they protect
  nothing, and no real system may ever trust them.**
- `suit/`: SUIT envelopes to test manifest processors with, described there.
"""


def files() -> dict[str, bytes]:
    """Contents of all fixtures, by path."""
    everything = {"README.md": _README.encode()}
    for version in RELEASES:
        root = _root(version)
        everything[f"releases/{version}/medvouch.efi"] = _release(version, root)
        everything |= {f"releases/{version}/rootfs/{path}": data for path, data in root.items()}
    everything |= {f"machine/{name}": data for name, data in _machine().items()}
    everything |= {f"keys/test-{role}.pem": key_pem(private_key(role)) for role in ROLES}
    everything |= {f"suit/{name}": data for name, data in suit_vectors.files(private_key).items()}
    return everything


def write(directory: Path) -> None:
    """Write all fixtures there; other files stay."""
    for name, data in files().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def private_key(role: str) -> ec.EllipticCurvePrivateKey:
    """The test key of a role."""
    secret = int.from_bytes(hashlib.sha256(f"medvouch test key {role}".encode()).digest(), "big")
    return ec.derive_private_key(secret % (_P256_ORDER - 1) + 1, ec.SECP256R1())


def device_path(file: str = BOOT_FILE) -> bytes:
    """The partition and the file (UEFI 10.3.5): `HD(1,GPT,...)`, by default BOOT_FILE."""
    partition = uuid5(NAMESPACE_URL, "medvouch:esp").bytes_le
    disk = struct.pack("<2BHI2Q16s2B", 4, 1, 42, 1, 2048, 131072, partition, 2, 2)
    name = ("\\" + file.replace("/", "\\") + "\0").encode("utf-16-le")
    return disk + struct.pack("<2BH", 4, 4, 4 + len(name)) + name + b"\x7f\xff\4\0"


def loader(version: str) -> bytes:
    """A boot loader of this version, as far as firmware and measurements see one."""
    return uki.build(
        {
            ".sbat": f"sbat,1,,sbat,1,\nsystemd-boot,1,systemd,systemd,{version},\n".encode(),
            ".sdmagic": f"#### LoaderInfo: systemd-boot {version} ####".encode(),
        }
    )


def _filler(label: str, size: int) -> bytes:
    return hashlib.shake_256(f"medvouch fixture {label}".encode()).digest(size)


def _root(version: str) -> dict[str, bytes]:
    """systemd stays the same in both releases."""
    return {
        "usr/bin/medvouch": _filler(f"medvouch {version}", _PROGRAM_BYTES),
        "usr/bin/gateway": _filler(f"gateway {version}", _PROGRAM_BYTES),
        "usr/lib/systemd/systemd": _filler("systemd", _PROGRAM_BYTES),
    }


def _release(version: str, root: Mapping[str, bytes]) -> bytes:
    root_hash = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in root.values())).hexdigest()
    osrel = (
        f'ID=medvouch-gateway\nPRETTY_NAME="medvouch gateway {version}"\nIMAGE_ID=medvouch\nIMAGE_VERSION={version}\n'
    )
    return uki.build(
        {
            ".osrel": osrel.encode(),
            ".cmdline": f"console=ttyS0 quiet medvouch.release={version} roothash={root_hash}".encode(),
            ".uname": f"6.12.0-medvouch-{version}".encode(),
            ".sbat": b"sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\nmedvouch,1,,,,\n",
            ".linux": _filler(f"kernel {version}", _KERNEL_BYTES),
            ".initrd": _filler(f"initrd {version}", _KERNEL_BYTES),
        }
    )


def _machine() -> dict[str, bytes]:
    forbidden = SignatureList(CERT_SHA256, b"", 48, ((owner(), hashlib.sha256(b"a forbidden image").digest()),))
    option = struct.pack("<IH", _LOAD_OPTION_ACTIVE, len(device_path())) + "medvouch\0".encode("utf-16-le")
    return {
        "firmware-version.txt": FIRMWARE_VERSION.encode(),
        "firmware-volume-dxe.bin": _volume("dxe"),
        "firmware-volume-pei.bin": _volume("pei"),
        "SecureBoot.var": b"\1",
        "PK.var": _certificates("PK"),
        "KEK.var": _certificates("KEK"),
        "db.var": _certificates("db"),
        "dbx.var": forbidden.encode(),
        "BootOrder.var": bytes(2),
        "Boot0000.var": option + device_path(),
    }


def _volume(name: str) -> bytes:
    """EFI_FIRMWARE_VOLUME_HEADER (PI 1.8, volume 3, 3.2.1) with one block, its 16-bit sum zero."""
    blocks = struct.pack("<4I", 1, _VOLUME_BYTES, 0, 0)
    size, attributes, revision = 56 + len(blocks), 0x4FEFF, 2

    def header(checksum: int) -> bytes:
        fields = (_FFS2.bytes_le, _VOLUME_BYTES, b"_FVH", attributes, size, checksum, 0, 0, revision)
        return struct.pack("<16x16sQ4sI3H2B", *fields) + blocks

    checksum = -sum(struct.unpack(f"<{size // 2}H", header(0))) & 0xFFFF
    return header(checksum) + _filler(f"volume {name}", _VOLUME_BYTES - size)


def _certificates(name: str) -> bytes:
    return certificate_list(f"medvouch test {name}").encode()


def certificate_list(common_name: str) -> SignatureList:
    """The entry of a signature database for a certificate."""
    data = certificate(common_name)
    return SignatureList(CERT_X509, b"", 16 + len(data), ((owner(), data),))


def owner() -> UUID:
    """Who owns all entries of signature databases."""
    return uuid5(NAMESPACE_URL, "medvouch:signature-owner")


def certificate_key(common_name: str) -> ed25519.Ed25519PrivateKey:
    """The test key of a certificate."""
    return ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(common_name.encode()).digest())


def certificate(common_name: str) -> bytes:
    """A self-signed certificate (DER)."""
    key = certificate_key(common_name)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, _NOT_BEFORE, _NOT_AFTER)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, None).public_bytes(Encoding.DER)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS #8, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def main() -> int:
    """Rebuild `firmware_fixtures/`."""
    write(FIXTURES)
    print(f"{len(files())} files in {FIXTURES}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
