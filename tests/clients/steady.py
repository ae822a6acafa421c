"""Calls Authorize for some seconds, one call after the other, and prints the number of calls.

Usage: steady.py HOST:PORT SECONDS
"""

import sys
import time

import grpc

# An AuthorizeRequest: field 2, the domain.
REQUEST = b"\x12\x0bexample.com"
TIMEOUT_SECONDS = 15


def call_for(channel, seconds):
    authorize = channel.unary_unary("/tosend.keys.v1.KeyService/Authorize")
    end = time.monotonic() + seconds
    calls = 0
    while time.monotonic() < end:
        authorize(REQUEST, timeout=TIMEOUT_SECONDS)
        calls += 1
    return calls


if __name__ == "__main__":
    with grpc.insecure_channel(sys.argv[1]) as the_channel:
        print(call_for(the_channel, float(sys.argv[2])))
