"""Strict, canonical MessagePack: one value has exactly one encoding, and every length has a limit.

A payload or message is one MessagePack array of fields in a fixed order. msgpack itself accepts duplicate map
keys, floats, extension types and integers that are longer than need be; a typed walk (`Fields`) and encoding the
decoded value again refuse them all, for about 10 microseconds a record.
"""

import re
from collections.abc import Callable, Iterator
from enum import Enum
from itertools import pairwise
from typing import Final, TypeAlias, TypeVar

import msgpack
import msgspec

from faramesh_mesh.records.rejection import Malformed, Reason

Primitive: TypeAlias = "int | bool | bytes | str | list[Primitive] | None"
"""What this dialect of MessagePack can hold. No floats: all numbers on the wire are integers. No maps: their keys
have no order, and msgpack interns them, which some versions of CPython never undo."""

T = TypeVar("T")

_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\xa0\xad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000"
    "\ue000-\uf8ff\ufeff\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000f0000-\U0010ffff]"
)
"""Control characters, invisible and bidirectional formatting, every space but U+0020, private use. A list of its own:
`str.isprintable` follows the Unicode version of the interpreter, and two nodes must not differ on what they admit."""

MAX_RECORD_ITEMS = 64
"""Longest array in any record: the `seen` vector and the keys of a root. msgpack makes room for what a header
promises before it reads it, and nests to 1 024: without a limit 3 KB of nested headers take half a gigabyte,
with this one half a megabyte. Strangers are read with no other."""

MAX_ITEMS = 4_096
"""Longest array in any message between those who have proved themselves: that bomb costs 32 MB and 30 ms of them."""

UINT_MAX = (1 << 63) - 1
"""Largest integer on the wire: fits SQLite's and most languages' signed 64 bits."""


def encode(value: "list[Primitive]") -> bytes:
    """The canonical bytes of an array of fields."""
    return _ENCODER.encode(value)


def encode_uint(number: int) -> bytes:
    """The canonical bytes of one unsigned integer."""
    return _ENCODER.encode(number)


_ENCODER = msgspec.msgpack.Encoder()
"""msgspec packs the same bytes as msgpack in a third of the time. It does not read: it has no limits."""


_UINT_FORMS = {0xCC: (1, 0x80), 0xCD: (2, 0x100), 0xCE: (4, 0x1_0000), 0xCF: (8, 0x1_0000_0000)}
"""MessagePack's longer forms of an unsigned integer: how many bytes follow, and the smallest number that needs them."""


def leading_uint(data: bytes, at: int, what: str) -> tuple[int, int]:
    """An unsigned integer in its canonical form within MessagePack, and where it ends. For messages that are
    read too often for a whole `decode`. Raises `Malformed`."""
    first = data[at] if at < len(data) else 0xC0
    if first < 0x80:
        return first, at + 1
    size, smallest = _UINT_FORMS.get(first, (0, 0))
    number = int.from_bytes(data[at + 1 : at + 1 + size], "big")
    if size == 0 or len(data) < at + 1 + size or not smallest <= number <= UINT_MAX:
        raise Malformed(f"{what}: no canonical integer")
    return number, at + 1 + size


def decode(data: bytes, what: str, longest: int = MAX_RECORD_ITEMS) -> "Fields":
    """Read one canonical array and nothing else from `data`, whose size the caller has already bounded. No array in
    it may be longer than `longest`.

    Raises `Malformed` naming `what` when it is not MessagePack, not an array, or not canonical.
    """
    size = len(data)
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_array_len=min(size, longest),
            max_map_len=0,
            max_str_len=size,
            max_bin_len=size,
            max_ext_len=0,
        )
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise Malformed(f"{what}: not MessagePack within limits ({type(error).__name__})") from None
    if not isinstance(value, list):
        raise Malformed(f"{what}: not an array")
    try:
        again = _ENCODER.encode(value)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        # The last is of a thousand arrays in each other, which the reader takes and the writer does not.
        raise Malformed(f"{what}: {type(error).__name__}", Reason.NOT_CANONICAL) from None
    if again != data:
        raise Malformed(what, Reason.NOT_CANONICAL)
    return Fields(value, what)


def decode_rows(data: bytes, what: str, width: int) -> "Iterator[Fields]":
    """Read canonical arrays, one after the other until the end of `data`, none with more than `width` elements.

    For bodies with very many elements: no header can promise more than one row. Raises `Malformed` as it goes.
    """
    rows = msgpack.Unpacker(
        raw=False,
        strict_map_key=True,
        max_buffer_size=len(data),
        max_array_len=width,
        max_map_len=0,
        max_ext_len=0,
    )
    rows.feed(data)
    read = 0
    while read < len(data):
        try:
            value = rows.unpack()
            again = _ENCODER.encode(value)
        except (
            ValueError,
            TypeError,
            OverflowError,
            RecursionError,
            msgpack.exceptions.UnpackException,
        ) as error:
            raise Malformed(f"{what}: not MessagePack within limits ({type(error).__name__})") from None
        if not isinstance(value, list):
            raise Malformed(f"{what}: a row is not an array")
        end = rows.tell()
        if again != data[read:end]:
            raise Malformed(what, Reason.NOT_CANONICAL)
        read = end
        yield Fields(value, what)


class _End(Enum):
    """What stands where an array has ended: no field has it for a value."""

    END = 0


_END: Final = _End.END


class Fields:
    """Reads an array field by field, each with its type and limit; `end` refuses what is left over."""

    __slots__ = ("_rest", "_what")

    def __init__(self, items: "list[Primitive]", what: str) -> None:
        self._rest: Iterator[Primitive | _End] = iter(items)
        self._what = what

    def _wrong(self, name: str, value: object, why: str) -> Malformed:
        return Malformed(f"{self._what}.{name}: {'missing' if value is _END else why}")

    def uint(self, name: str, largest: int = UINT_MAX, smallest: int = 0) -> int:
        """An integer within limits, both inclusive."""
        value = next(self._rest, _END)
        if type(value) is not int or not smallest <= value <= largest:
            raise self._wrong(name, value, f"not an integer in {smallest}..{largest}")
        return value

    def flag(self, name: str) -> bool:
        """A boolean."""
        value = next(self._rest, _END)
        if type(value) is not bool:
            raise self._wrong(name, value, "not a boolean")
        return value

    def binary(self, name: str, size: int) -> bytes:
        """Exactly `size` bytes."""
        value = next(self._rest, _END)
        if type(value) is not bytes or len(value) != size:
            raise self._wrong(name, value, f"not {size} bytes")
        return value

    def blob(self, name: str, largest: int, smallest: int = 0) -> bytes:
        """Bytes of a length within limits, both inclusive."""
        value = next(self._rest, _END)
        if type(value) is not bytes or not smallest <= len(value) <= largest:
            raise self._wrong(name, value, f"not {smallest}..{largest} bytes")
        return value

    def optional_binary(self, name: str, size: int) -> bytes | None:
        """Exactly `size` bytes, or none."""
        value = next(self._rest, _END)
        if value is None:
            return None
        if type(value) is not bytes or len(value) != size:
            raise self._wrong(name, value, f"not {size} bytes or nil")
        return value

    def text(self, name: str, largest: int, smallest: int = 0) -> str:
        """Printable text of so many UTF-8 bytes. Control and invisible formatting characters are refused:
        what one operator signs is printed on the terminal of another."""
        value = next(self._rest, _END)
        if (
            type(value) is str
            and value.isascii()
            and value.isprintable()
            and smallest <= len(value) <= largest
        ):
            return value  # nearly always; what is printable in ASCII no version of Unicode changes
        if type(value) is not str or not smallest <= len(value.encode()) <= largest:
            raise self._wrong(name, value, f"not text of {smallest}..{largest} bytes")
        if _INVISIBLE.search(value):
            raise self._wrong(name, value, "not printable")
        return value

    def word(self, name: str, largest: int, pattern: re.Pattern[str]) -> str:
        """A name: text of at most so many characters that a pattern, which has only visible ASCII, matches as
        a whole."""
        value = next(self._rest, _END)
        if type(value) is not str or len(value) > largest or pattern.fullmatch(value) is None:
            raise self._wrong(name, value, f"not a name of 1..{largest} characters")
        return value

    def items(self, name: str, most: int, read: "Callable[[Fields], T]", least: int = 0) -> tuple[T, ...]:
        """An array of arrays, each read by `read`, which must use up all of it."""
        value = next(self._rest, _END)
        if type(value) is not list or not least <= len(value) <= most:
            raise self._wrong(name, value, f"not an array of {least}..{most}")
        out: list[T] = []
        what = f"{self._what}.{name}" if value else ""
        for item in value:
            if type(item) is not list:
                raise Malformed(f"{what}: an element is not an array")
            fields = Fields(item, what)
            out.append(read(fields))
            fields.end()
        return tuple(out)

    def pairs_of_text(self, name: str, most: int) -> tuple[tuple[str, str], ...]:
        """An array of pairs of texts. What they may say is for the caller to check."""
        value = next(self._rest, _END)
        if type(value) is not list or len(value) > most:
            raise self._wrong(name, value, f"not an array of 0..{most}")
        out: list[tuple[str, str]] = []
        for item in value:
            if type(item) is not list or len(item) != 2:
                raise self._wrong(name, value, "an element is not a pair")
            first, second = item
            if type(first) is not str or type(second) is not str:
                raise self._wrong(name, value, "an element is not a pair of texts")
            out.append((first, second))
        return tuple(out)

    def counts(self, name: str, most: int, places: int, largest: int) -> tuple[tuple[int, int], ...]:
        """An array of (place, count): places in 0..`places` and strictly ascending, counts in 1..`largest`."""
        value = next(self._rest, _END)
        if type(value) is not list or len(value) > most:
            raise self._wrong(name, value, f"not an array of 0..{most}")
        out: list[tuple[int, int]] = []
        before = -1
        for item in value:
            if type(item) is not list or len(item) != 2:
                raise self._wrong(name, value, "an element is not a pair")
            place, count = item
            if type(place) is not int or not 0 <= place <= places:
                raise self._wrong(name, value, f"no place in 0..{places}")
            if place <= before:
                raise self._wrong(name, value, "not strictly ascending")
            if type(count) is not int or not 1 <= count <= largest:
                raise self._wrong(name, value, f"not an integer in 1..{largest}")
            before = place
            out.append((place, count))
        return tuple(out)

    def binaries(self, name: str, size: int, most: int, least: int = 0) -> tuple[bytes, ...]:
        """An array of byte strings of one size."""
        value = next(self._rest, _END)
        if type(value) is not list or not least <= len(value) <= most:
            raise self._wrong(name, value, f"not an array of {least}..{most}")
        out: list[bytes] = []
        for item in value:
            if type(item) is not bytes or len(item) != size:
                raise self._wrong(name, value, f"an element is not {size} bytes")
            out.append(item)
        return tuple(out)

    def blobs(self, name: str, largest: int, most: int) -> tuple[bytes, ...]:
        """An array of byte strings, each of at most `largest` bytes."""
        value = next(self._rest, _END)
        if type(value) is not list or len(value) > most:
            raise self._wrong(name, value, f"not an array of at most {most}")
        out: list[bytes] = []
        for item in value:
            if type(item) is not bytes or len(item) > largest:
                raise self._wrong(name, value, f"an element is not at most {largest} bytes")
            out.append(item)
        return tuple(out)

    def texts(self, name: str, largest: int, most: int) -> tuple[str, ...]:
        """An array of printable texts, none empty, each of at most `largest` bytes."""
        value = next(self._rest, _END)
        if type(value) is not list or len(value) > most:
            raise self._wrong(name, value, f"not an array of at most {most}")
        out: list[str] = []
        for item in value:
            if type(item) is not str or not 0 < len(item.encode()) <= largest or _INVISIBLE.search(item):
                raise self._wrong(name, value, f"an element is not text of 1..{largest} bytes")
            out.append(item)
        return tuple(out)

    def end(self) -> None:
        """Refuse fields that nobody asked for."""
        if next(self._rest, _END) is not _END:
            raise Malformed(f"{self._what}: {1 + len(list(self._rest))} fields too many")


def ascending(values: "tuple[T, ...]", what: str, key: "Callable[[T], bytes | str | int]") -> "tuple[T, ...]":
    """The values again, refused unless strictly ascending by `key`: sets have one order on the wire."""
    for before, after in pairwise(values) if len(values) > 1 else ():
        if not key(before) < key(after):  # type: ignore[operator]
            raise Malformed(f"{what}: not strictly ascending")
    return values
