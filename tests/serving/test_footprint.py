from __future__ import annotations

from typing import Any

import pytest

from serving.footprint import allocated_bytes, string_bytes


@pytest.mark.parametrize(
    ("size", "reserved"), [(1, 16), (16, 16), (17, 32), (128, 128), (129, 160), (257, 320), (1025, 1280), (2048, 2048)]
)
def test_sizes_are_rounded_to_the_allocator_s_classes(size: int, reserved: int) -> None:
    assert allocated_bytes(size) == reserved


def used_bytes(client: Any) -> int:
    memory = client.info("memory")
    return memory["used_memory"] - memory["mem_clients_normal"] - memory["mem_aof_buffer"]


@pytest.mark.parametrize("value_bytes", [80, 400, 1500])
def test_ten_thousand_strings_take_what_was_predicted(mortal_redis: Any, value_bytes: int) -> None:
    names = [f"rs:0123456789abcdef:item:sku-{number:06d}" for number in range(10_000)]
    with mortal_redis.client() as client:
        before = used_bytes(client)
        for start in range(0, len(names), 100):
            client.mset(dict.fromkeys(names[start : start + 100], b"x" * value_bytes))
        grown = used_bytes(client) - before
    predicted = sum(string_bytes(name, value_bytes) for name in names)
    assert predicted == pytest.approx(grown, rel=0.15)
