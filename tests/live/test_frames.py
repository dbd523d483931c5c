"""Frames as RFC 6455 and the event stream of WHATWG HTML write them."""

import pytest

from protocol.frames import Frame, text_frame


@pytest.mark.parametrize(
    ("length", "head"),
    [
        (0, b"\x81\x00"),
        (1, b"\x81\x01"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_text_frame_says_its_length_in_the_shortest_form(length: int, head: bytes) -> None:
    payload = b"x" * length
    assert text_frame(payload) == head + payload


def test_a_frame_carries_the_same_payload_to_both_kinds_of_client() -> None:
    frame = Frame(b'{"type":"delta"}', 7)
    assert frame.ws == b"\x81\x10" + frame.payload
    assert frame.sse == b'id: 7\ndata: {"type":"delta"}\n\n'
    assert frame.sse is frame.sse, "an event is built once, however many get it"


def test_what_has_no_version_leaves_the_last_event_id_alone() -> None:
    assert Frame(b"{}").sse == b"data: {}\n\n"
    assert Frame(b"{}", 0).sse == b"id: 0\ndata: {}\n\n"
