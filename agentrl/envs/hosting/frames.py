"""Messages over a stream socket: a magic word, a length, a checksum, the bytes. Anything else is no message."""

from __future__ import annotations

import socket
import struct
import time
import zlib

MAX_BYTES = 64 << 20

_MAGIC = b"ARL1"
_HEAD = struct.Struct(">4sII")


class BrokenStream(Exception):
  """The other side closed the stream, took too long, or sent what is no message."""


class ClosedStream(BrokenStream):
  """The other side closed the stream."""


def send(stream: socket.socket, payload: bytes, seconds: float | None = None) -> None:
  """Sends one message; `seconds`: until it must have been taken, None for any time.

  Raises:
    BrokenStream: it was not taken.
  """
  if len(payload) > MAX_BYTES:
    raise BrokenStream(f"a message of {len(payload)} bytes exceeds {MAX_BYTES}")
  stream.settimeout(seconds)
  try:
    stream.sendall(_HEAD.pack(_MAGIC, len(payload), zlib.crc32(payload)) + payload)
  except TimeoutError as error:
    raise BrokenStream(f"a message was not taken in {seconds:g} s") from error
  except OSError as error:
    raise BrokenStream(f"a message could not be sent: {error}") from error


def receive(stream: socket.socket, seconds: float | None = None) -> bytes:
  """Waits for one message, whole; `seconds`: for all of it, None for any time.

  Raises:
    BrokenStream: there was none.
  """
  deadline = None if seconds is None else time.monotonic() + seconds
  magic, size, checksum = _HEAD.unpack(_exactly(stream, _HEAD.size, deadline, seconds))
  if magic != _MAGIC or size > MAX_BYTES:
    raise BrokenStream(f"garbage instead of a message: {magic!r}")
  payload = _exactly(stream, size, deadline, seconds)
  if zlib.crc32(payload) != checksum:
    raise BrokenStream("garbage instead of a message: wrong checksum")
  return payload


def _exactly(stream: socket.socket, size: int, deadline: float | None, seconds: float | None) -> bytes:
  received = bytearray()
  while len(received) < size:
    if deadline is not None and (left := deadline - time.monotonic()) <= 0:
      raise BrokenStream(f"no answer in {seconds:.3g} s")
    stream.settimeout(None if deadline is None else left)
    try:
      chunk = stream.recv(min(size - len(received), 1 << 20))
    except TimeoutError:
      continue
    except OSError as error:
      raise BrokenStream(f"the stream broke: {error}") from error
    if not chunk:
      raise ClosedStream("the stream was closed")
    received += chunk
  return bytes(received)
