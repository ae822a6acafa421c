"""A client that calls a server once, or under load with h2load.

gRPC is written by hand here, because only a few messages are needed."""

import re
import sys

from .tools import CLIENT_CORE, run


def field(number, content):
    """Encodes a field of text, bytes or a message."""
    length, rest = b"", len(content)
    while rest > 127:
        length, rest = length + bytes([rest & 127 | 128]), rest >> 7
    return bytes([number << 3 | 2]) + length + bytes([rest]) + content


def framed(message):
    """Puts a message into a gRPC frame."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def message(*fields):
    """Encodes text fields as a protobuf message in a gRPC frame."""
    return framed(b"".join(field(number, text.encode()) for number, text in fields))


def first_field(frame):
    """Returns the number and the bytes of the first field in a gRPC frame with a short message."""
    message = frame[5:]
    if not message or message[0] & 7 != 2:
        return None, b""
    start = 3 if message[1] & 0x80 else 2  # a length is one or two bytes here
    length = message[1] & 0x7F | (message[2] << 7 if start == 3 else 0)
    return message[0] >> 3, message[start : start + length]


class Call:
    """One call that is made again and again: where, with what, and what its answer must be."""

    def __init__(self, base, path, request, directory, secret=None):
        self.url = base + path
        self.body = directory / "body"
        self.log = directory / "latencies"
        self.request = request
        self.data = ["-d", self.body]
        self.headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        if secret:
            self.headers += ["-H", f"authorization: Bearer {secret}"]

    def once(self):
        """Returns the gRPC frame of the response. The frame is empty if the call failed."""
        self.body.write_bytes(self.request)
        return run("nghttp", *self.headers, "-H", ":method: POST", "-d", self.body, self.url)

    def load(self, shape, seconds, rate=None):
        """Returns how many calls were answered in a second, and how many microseconds each took if they
        came at a fixed rate. Exits if some answers cannot have been the expected one. h2load tells only the
        number of answers and of their bytes."""
        expected = self.once()
        connections, streams = shape
        fixed = []
        if rate:
            self.log.unlink(missing_ok=True)
            fixed = ["--rps", max(1, round(rate / connections)), "--log-file", self.log]
        output = run(
            "taskset", "-c", CLIENT_CORE, "h2load", *self.headers, *fixed,
            "-D", seconds, "-c", connections, "-m", streams, *self.data, self.url,
        ).decode()  # fmt: skip
        answered = float(re.search(r"([\d.]+) req/s", output)[1])
        succeeded, failed = re.search(r"(\d+) succeeded, (\d+) failed", output).groups()
        answered_bytes = int(re.search(r"\((\d+)\) data", output)[1])
        # A call in flight at the end may be among the answers or among the bytes only.
        in_flight = connections * streams
        surplus = answered_bytes / len(expected) - int(succeeded)
        if not int(succeeded) or int(failed) > in_flight or abs(surplus) > in_flight:
            sys.exit(f"bench/run: {self.url} did not always give the expected answer\n{output}")
        if not rate:
            return answered, []
        lines = self.log.read_text().splitlines()
        return answered, [int(line.split("\t")[2]) for line in lines]

    def bytes_back(self, shape, calls):
        """Makes so many calls. Returns how many bytes of HTTP/2 each answer took."""
        connections, streams = shape
        output = run(
            "h2load", *self.headers, "-n", calls, "-c", connections, "-m", streams, "-d", self.body, self.url
        ).decode()
        return int(re.search(r"traffic: .*?\((\d+)\) total", output)[1]) / calls
