"""What stands under each key of the agent's state, as the agent in the field reads it.

The old slot's agent comes back to what the new one's has written. It takes a record with these fields and bounds and no
other: what is new goes under a key of its own, which the old agent leaves alone.
"""

from __future__ import annotations

from dataclasses import fields
from typing import get_args, get_type_hints

import pytest

from medvouch.formats.data_format import DataFormat, DataState
from medvouch.formats.identity import DeviceIdentity
from medvouch.formats.record import Record
from medvouch.formats.update import FetchJournal, IndexPayload, InstalledRelease, UpdateRecord
from medvouch.ledger.anchoring import Intent

FORMS: dict[type[Record], str] = {
    DeviceIdentity: """\
        ueid Octets(limit=33, exact=True); device_id Text(limit=32, empty=False); ek_hash Octets(limit=32, exact=True)
        serial Text(limit=64, empty=False); model Text(limit=64, empty=False); hw_version Text(limit=32, empty=False)
        ldevid_public Octets(limit=4096, exact=False); ldevid_private Octets(limit=4096, exact=False)
        lak_certificate Octets(limit=16384, exact=False); ldevid_certificate Octets(limit=16384, exact=False)
        client_certificate Octets(limit=16384, exact=False)
        chain Many(item=Octets(limit=16384, exact=False), limit=4)
        nv_names Named(item=Octets(limit=66, exact=False), limit=8)
        nv_auths Named(item=Octets(limit=64, exact=False), limit=8)
        floor Uint(limit=4294967295); floor_base Uint(limit=9223372036854775807)
        iak_public Octets(limit=4096, exact=False); accountable_owner Text(limit=256, empty=False)
        answer Octets(limit=131072, exact=False)""",
    UpdateRecord: """\
        state Text(limit=32, empty=False); version Text(limit=64, empty=False)
        sequence Uint(limit=9223372036854775807); security_epoch Uint(limit=4294967295)
        manifest Octets(limit=32, exact=True); uri Text(limit=2048, empty=False)
        digest Octets(limit=32, exact=True); size Uint(limit=9223372036854775807)
        reference Octets(limit=1048576, exact=False); slot Text(limit=16, empty=False)
        tries Uint(limit=255); code Text(limit=64, empty=True)""",
    InstalledRelease: """\
        version Text(limit=64, empty=True); sequence Uint(limit=9223372036854775807)
        security_epoch Uint(limit=4294967295)""",
    FetchJournal: """\
        manifest Octets(limit=32, exact=True); slot Text(limit=16, empty=False)
        done Uint(limit=9223372036854775807); source Text(limit=4096, empty=True)
        validator Text(limit=256, empty=True); index Maybe(item=Nested(record=IndexPayload))""",
    IndexPayload: """\
        uri Text(limit=2048, empty=False); digest Octets(limit=32, exact=True); size Uint(limit=4194320)""",
    DataFormat: """\
        writes Uint(limit=4294967295); reads Uint(limit=4294967295); readable_by Uint(limit=4294967295)""",
    DataState: """\
        holds Uint(limit=4294967295); needs Uint(limit=4294967295); step Text(limit=32, empty=True)""",
    Intent: """\
        size Uint(limit=4294967295); root Octets(limit=32, exact=True)
        counter_before Uint(limit=18446744073709551615); head_before Octets(limit=32, exact=True)""",
}


@pytest.mark.parametrize("record", FORMS, ids=lambda record: record.__name__)
def test_a_record_that_the_old_slot_reads_has_the_fields_that_it_had(record: type[Record]) -> None:
    hints = get_type_hints(record, include_extras=True)
    codecs = {field.name: repr(get_args(hints[field.name])[1]) for field in fields(record)}  # type: ignore[arg-type]
    found = [f"{name} {codec}" for name, codec in codecs.items()]
    plain = [form.replace(f"<class '{IndexPayload.__module__}.IndexPayload'>", "IndexPayload") for form in found]
    assert plain == [form.strip() for form in FORMS[record].replace("\n", ";").split(";")]
