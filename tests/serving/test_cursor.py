from __future__ import annotations

import base64

import pytest

from serving.cursor import FORMAT, MAX_SHOWN, BadCursor, Cursor, checksums, question_hash


def test_a_cursor_is_checked_and_bounded() -> None:
    question = question_hash("feed", "u1", {})
    text = Cursor.start(question).after(["a", "b"])
    assert text is not None
    again = Cursor.parse(text, question)
    assert sorted(again.shown.tolist()) == sorted(checksums(["a", "b"]).tolist())
    for broken in (text[:-1], text[:-4], text + "AAAA", "é", "", "AAAA", text.replace(text[3], "!")):
        with pytest.raises(BadCursor):
            Cursor.parse(broken, question)
    with pytest.raises(BadCursor, match="same question"):
        Cursor.parse(text, question_hash("feed", "u2", {}))
    many = [f"i{row}" for row in range(MAX_SHOWN)]
    longest = Cursor.start(question).after(many[:-1])
    assert longest is not None
    assert len(longest) < 6_000
    assert Cursor.parse(longest, question).after(many[-1:]) is None
    too_long = base64.urlsafe_b64encode(bytes([FORMAT]) + question + bytes(4 * (MAX_SHOWN + 1))).decode()
    with pytest.raises(BadCursor, match="unchanged"):
        Cursor.parse(too_long, question)
