"""How much memory keys and values take in Redis, before they are there.

A string costs its key's allocation (object header and key), its value's allocation, and its share of the key table.
Allocations are rounded up to jemalloc's size classes: multiples of 16 bytes up to 128, then four classes a doubling.
"""

from __future__ import annotations

HEADER_BYTES = 24
"""Object header and string header before a key."""
VALUE_BYTES = 6
"""String header and terminator around a value."""
TABLE_BYTES = 16
"""Share of the key table: 64-byte buckets of seven entries, a half to fully filled."""


def allocated_bytes(size: int) -> int:
    """What the allocator reserves for `size` bytes."""
    if size <= 128:
        return max(16, -(-size // 16) * 16)
    step = 1 << ((size - 1).bit_length() - 3)
    return -(-size // step) * step


def string_bytes(key: str, value_bytes: int) -> int:
    """What one string key takes, in bytes."""
    return allocated_bytes(len(key.encode()) + HEADER_BYTES) + allocated_bytes(value_bytes + VALUE_BYTES) + TABLE_BYTES
