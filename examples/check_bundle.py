"""Checks an exported ledger (`medvouch ledger export`) with nothing but cryptography and cbor2: a second opinion.

    python check_bundle.py life.cbor trust.cbor

It shares no code with medvouch, so that a mistake would have to be made twice. It checks who enrolled the device, its
entries, that its TPM confirmed them (TPM2_NV_Certify), and what appraisers and commanders signed. It does not check
revocation, times, or the proof of a sanitisation. Exit 0 where all holds.
"""

import hashlib
import sys

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

ALGORITHMS = {-7: hashes.SHA256(), -35: hashes.SHA384()}
STATEMENT, ANSWER, COMMAND = (f"application/vnd.medvouch.{name}+cbor" for name in ("statement", "enrolment", "command"))
EAR = "application/eat+cwt"
LEDGER_HEAD, STATUS, SUBMODULES = -75002, 1000, 266
TIERS = {0: "none", 2: "affirming", 32: "warning", 96: "contraindicated"}


def sha256(data):
    return hashlib.sha256(data).digest()


def need(holds, what):
    if not holds:
        raise ValueError(what)


def read(data):
    """CBOR in its one deterministic form: what is read is all that is there."""
    value = cbor2.loads(data)
    need(cbor2.dumps(value, canonical=True) == data, "CBOR in another form than the deterministic one")
    return value


def verify(key, signature, data, algorithm):
    r, s = (
        int.from_bytes(half, "big") for half in (signature[: len(signature) // 2], signature[len(signature) // 2 :])
    )
    key.verify(encode_dss_signature(r, s), data, ec.ECDSA(algorithm))


def signed_by(keys, data, content_type):
    """(payload, protected header) of a COSE_Sign1 (RFC 9052) that one of `keys` signed."""
    message = cbor2.loads(data)
    need(isinstance(message, cbor2.CBORTag) and message.tag == 18, "no COSE_Sign1")
    protected, unprotected, payload, signature = message.value
    header = cbor2.loads(protected)
    need(header.get(3) == content_type and not unprotected and header.get(1) in ALGORITHMS, f"headers {header}")
    to_be_signed = cbor2.dumps(["Signature1", protected, b"", payload])
    for key in keys:
        try:
            verify(key, signature, to_be_signed, ALGORITHMS[header[1]])
        except InvalidSignature:
            continue
        return payload, header
    raise ValueError(f"no trusted key signed this {content_type}")


def issued(leaf, chain, roots):
    """The leaf certificate, if its chain of signatures leads to a root."""
    certificate = x509.load_der_x509_certificate(leaf)
    pool = [x509.load_der_x509_certificate(each) for each in (*chain, *roots)]
    current = certificate
    for _ in range(len(pool)):
        for issuer in pool:
            try:
                current.verify_directly_issued_by(issuer)
            except (InvalidSignature, ValueError, TypeError):
                continue
            if issuer.fingerprint(hashes.SHA256()) in {sha256(root) for root in roots}:
                return certificate
            current = issuer
            break
    raise ValueError(f"no chain from {certificate.subject.rfc4514_string()} to a trusted root")


class Cursor:
    """Big-endian fields of a TPM structure."""

    def __init__(self, data):
        self.data = data

    def take(self, size):
        need(len(self.data) >= size, "a TPM structure is cut short")
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def number(self, size):
        return int.from_bytes(self.take(size), "big")

    def sized(self):
        return self.take(self.number(2))


def nv_certified(certified, key, name, contents, qualifier):
    """Check a TPM2_NV_Certify (TPM 2.0 Part 2, 10.12): (resetCount, restartCount, clock) when it was made."""
    attest, signature = certified
    fields = Cursor(signature)
    need((fields.number(2), fields.number(2)) == (0x18, 0x0B), "no ECDSA with SHA-256")
    r, s = (fields.sized().rjust(32, b"\0") for _ in range(2))
    verify(key, r + s, attest, hashes.SHA256())
    fields = Cursor(attest)
    need((fields.number(4), fields.number(2)) == (0xFF544347, 0x8014), "not made by a TPM, or no NV_Certify")
    fields.sized()
    need(fields.sized() == qualifier, "it was certified for another checkpoint")
    clock, resets, restarts = fields.number(8), fields.number(4), fields.number(4)
    need(fields.take(1 + 8) and fields.sized() == name, "another NV index was certified")
    need(fields.number(2) == 0 and fields.sized() == contents and not fields.data, "the index holds something else")
    return resets, restarts, clock


def merkle_root(leaves):
    """RFC 9162, 2.1.1."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"")
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + merkle_root(leaves[:split]) + merkle_root(leaves[split:]))


def check(bundle_bytes, trust_bytes):
    """What the bundle proves, as lines; raises ValueError, or whatever malformed input leads to."""
    bundle, trust = read(bundle_bytes), read(trust_bytes)
    keys = {name: [load_der_public_key(key) for key in role["keys"]] for name, role in trust["roles"].items()}
    entries = [read(entry) for entry in bundle["entries"]]
    answer = read(signed_by(keys["enrolment"], entries[0]["attachments"]["answer"], ANSWER)[0])
    roots = trust["certificates"]["enrolment-ca"]
    lak, ldevid = (issued(answer[f"{name}_certificate"], answer["chain"], roots) for name in ("lak", "ldevid"))
    device = answer["device_id"]
    need(answer["ueid"] == b"\x01" + answer["ek_hash"] and answer["ueid"][:16].hex() == device, "another UEID")
    for certificate in (lak, ldevid):
        names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        need([each.value for each in names] == [device] and bundle["device"] == device, "another device")

    states, leaves, seen, sizes = {}, [], [], {}
    for number, entry in enumerate(entries):
        payload, header = signed_by([ldevid.public_key()], entry["statement"], STATEMENT)
        need(header[15] == {1: device, 2: answer["ueid"].hex()}, f"entry {number} is another device's")
        said = read(payload)
        need(said["index"] == number, f"entry {said['index']} stands where {number} should")
        need(said["before"] == states.get(said["machine"], said["before"]), f"entry {number} does not go on")
        states[said["machine"]] = said["after"]
        for name, data in entry["attachments"].items():
            need(said["digests"].get(name) == sha256(data), f"entry {number}: {name} has another digest")
        judged = {"answer", "ear", "command"} & set(said["digests"])
        need(judged <= set(entry["attachments"]), f"entry {number}: what it names is not there")
        if "command" in entry["attachments"]:
            command = read(signed_by(keys["commander"], entry["attachments"]["command"], COMMAND)[0])
            need(command["device"] == device, f"entry {number}: a command for another device")
        if "ear" in entry["attachments"]:
            status, head = verdict(entry["attachments"]["ear"], keys["appraiser"], device)
            need(said["machine"] != "attestation" or said["after"] == status, f"entry {number}: another verdict")
            need(head is None or head[0] <= number, f"entry {number}: it confirms what came later")
            seen += [head] if head else []
        else:
            need(said["machine"] != "attestation", f"entry {number}: a verdict that nobody signed")
        leaves.append(sha256(b"\x00" + entry["statement"]))

    counter, extended, moment, confirmed = None, bytes(32), (0, 0, 0), 0
    for number, each in enumerate(map(read, bundle["checkpoints"])):
        point, names = each["checkpoint"], answer["nv_names"]
        qualifier, extended = sha256(cbor2.dumps(point, canonical=True)), sha256(extended + point["root"])
        need(point["device"] == device and point["head"] == extended, f"checkpoint {number} does not follow")
        need(counter in (None, point["counter"] - 1) and point["size"] >= confirmed, f"checkpoint {number}: a gap")
        counter, confirmed, before = point["counter"], point["size"], moment
        sizes[counter] = confirmed
        value = counter.to_bytes(8, "big")
        nv_certified(each["counter"], lak.public_key(), names["ledger-counter"], value, qualifier)
        moment = nv_certified(each["head"], lak.public_key(), names["ledger-head"], extended, qualifier)
        need(before <= moment, f"checkpoint {number}: the TPM's clock went back")
        seen.append([point["size"], point["root"], counter])
    if bundle["receipt"]:
        _, head = verdict(bundle["receipt"], keys["appraiser"], device)
        need(head == [len(leaves), merkle_root(leaves), counter or 0], "the receipt is on another ledger")
    for size, root, at in seen:
        need(sizes.get(at, size + 1) <= size, f"checkpoint {at}, which an appraiser saw, is not there")
        need(size <= len(leaves) and merkle_root(leaves[:size]) == root, f"the first {size} entries are others")
    return f"{device} holds: {len(leaves)} entries, {confirmed} confirmed by its TPM; {states}"


def verdict(data, appraisers, device):
    """(status, ledger head or None) of an EAR about this device."""
    ear = read(signed_by(appraisers, data, EAR)[0])
    need(set(ear[SUBMODULES]) == {device}, "a verdict about another device")
    return TIERS[ear[SUBMODULES][device][STATUS]], ear[SUBMODULES][device].get(LEDGER_HEAD)


if __name__ == "__main__":
    try:
        print(check(*(open(path, "rb").read() for path in sys.argv[1:3])))
    except Exception as error:
        sys.exit(f"does NOT hold: {type(error).__name__}: {error}")
