"""Who is at the other end of a Unix socket: this process itself, with ids that it believes to have."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct

import pytest

from imagesmith.worker.sandbox.unotify_ids import ROOT, Ids, IdTable
from imagesmith.worker.sandbox.unotify_peers import SO_PEERCRED, Peers
from imagesmith.worker.sandbox.unotify_task import Tasks

JOE = Ids((7, 7, 7, 7), (8, 8, 8, 8))


@pytest.mark.parametrize(("length", "told"), [(12, 12), (8, 8), (20, 12)])
def test_peer_has_the_ids_that_it_believes_to_have(length: int, told: int) -> None:
    table, me = IdTable(), os.getpid()
    value, size = ctypes.create_string_buffer(20), ctypes.c_uint32(length)
    arguments = (socket.SOL_SOCKET, SO_PEERCRED, ctypes.addressof(value), ctypes.addressof(size), 0)
    a, b = socket.socketpair()
    with a, b:
        peers = Peers(Tasks(), table)
        assert peers.getsockopt(me, (a.fileno(), *arguments)) is None  # all are root
        table.set(me, JOE)
        try:
            assert peers.getsockopt(me, (a.fileno(), *arguments)) == 0
            assert peers.getsockopt(me, (a.fileno(), socket.SOL_SOCKET + 1, *arguments[1:])) is None
            assert peers.getsockopt(me, (-1, *arguments)) is None
        finally:
            table.set(me, ROOT)
    assert size.value == told
    assert value.raw[:told] == struct.pack("=3I", me, 7, 8)[:told]


def test_what_is_no_socket_is_not_kept_open() -> None:
    table, me = IdTable(), os.getpid()
    value, size = ctypes.create_string_buffer(20), ctypes.c_uint32(12)
    table.set(me, JOE)
    with contextlib.ExitStack() as stack:
        stack.callback(table.set, me, ROOT)
        f = stack.enter_context(open(os.devnull, "rb"))
        peers = Peers(Tasks(), table)
        where = (socket.SOL_SOCKET, SO_PEERCRED, ctypes.addressof(value), ctypes.addressof(size), 0)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            assert peers.getsockopt(me, (f.fileno(), *where)) is None
        assert len(os.listdir("/proc/self/fd")) == before
