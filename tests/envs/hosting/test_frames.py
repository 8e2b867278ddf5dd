"""Messages over a socket: whole ones come through, anything else is an error in time."""

import os
import socket
import struct
import threading
import zlib

import pytest

from agentrl.envs.hosting import frames


@pytest.fixture
def pair():
  left, right = socket.socketpair()
  with left, right:
    yield left, right


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_messages_come_through_in_order(pair, size):
  left, right = pair
  sent = [os.urandom(size), b"next"]
  thread = threading.Thread(target=lambda: [frames.send(left, payload, 10.0) for payload in sent])
  thread.start()
  assert [frames.receive(right, 10.0) for _ in sent] == sent
  thread.join()


def frame(payload, *, magic=b"ARL1", size=None, checksum=None):
  size = len(payload) if size is None else size
  return struct.pack(">4sII", magic, size, zlib.crc32(payload) if checksum is None else checksum) + payload


@pytest.mark.parametrize(
  ("sent", "words"),
  [
    (frame(b"x", magic=b"HTTP"), "garbage instead of a message: b'HTTP'"),
    (frame(b"x", checksum=7), "wrong checksum"),
    (frame(b"", size=frames.MAX_BYTES + 1), "garbage instead of a message"),
    (os.urandom(1 << 12), "garbage|closed"),
    (frame(b"whole")[:-1], "the stream was closed"),
    (b"", "the stream was closed"),
  ],
)
def test_what_is_no_message_is_an_error(pair, sent, words):
  left, right = pair
  left.sendall(sent)
  left.shutdown(socket.SHUT_WR)
  with pytest.raises(frames.BrokenStream, match=words):
    frames.receive(right, 10.0)


@pytest.mark.parametrize("sent", [b"", frame(b"whole")[:-1]])
def test_a_message_that_does_not_come_in_time_is_an_error(pair, sent):
  left, right = pair
  left.sendall(sent)
  with pytest.raises(frames.BrokenStream, match=r"no answer in 0\.1 s"):
    frames.receive(right, 0.1)


def test_a_message_that_is_not_taken_in_time_is_an_error(pair):
  with pytest.raises(frames.BrokenStream, match=r"not taken in 0\.1 s"):
    frames.send(pair[0], bytes(8 << 20), 0.1)


def test_a_message_that_is_too_large_is_not_sent(pair):
  with pytest.raises(frames.BrokenStream, match="exceeds"):
    frames.send(pair[0], bytes(frames.MAX_BYTES + 1))
