"""EFI_LOAD_OPTION, the value of Boot####, Driver#### and SysPrep#### (UEFI 2.10, section 3.1.3).

    attributes u32 | size of the paths u16 | description UTF-16 with NUL | device paths | optional data

Integers are little endian.
"""

from __future__ import annotations

from dataclasses import dataclass

from medvouch.formats.cursor import Cursor

FORMAT = "uefi"
MAX_DESCRIPTION_CHARS = 1024
ACTIVE = 1
"""LOAD_OPTION_ACTIVE among the attributes."""


@dataclass(frozen=True)
class BootOption:
    """What the firmware may start, and with which options."""

    attributes: int
    description: str
    device_path: bytes
    data: bytes

    @classmethod
    def parse(cls, data: bytes) -> BootOption:
        """Raises InputError `uefi-*`."""
        cursor = Cursor(data, FORMAT, byteorder="little")
        attributes, path_size = cursor.u32(), cursor.u16()
        name = bytearray()
        while (unit := cursor.take(2)) != b"\0\0":
            name += unit
            if len(name) > 2 * MAX_DESCRIPTION_CHARS:
                cursor.fail("limit", f"a description of more than {MAX_DESCRIPTION_CHARS} characters")
        try:
            description = name.decode("utf-16-le")
        except UnicodeDecodeError:
            cursor.fail("malformed", "a description that is no UTF-16")
        return cls(attributes, description, cursor.take(path_size), cursor.rest())

    def encode(self) -> bytes:
        """The variable's value."""
        head = self.attributes.to_bytes(4, "little") + len(self.device_path).to_bytes(2, "little")
        return head + (self.description + "\0").encode("utf-16-le") + self.device_path + self.data
