"""The cache key of a step: a digest over all that its result depends on, and nothing else.

A key is made of the parts below, as one JSON object, hashed. The parts are kept beside the record, so that
a miss can be explained by the first part that differs from an earlier build's.

    below     chain id of the layers that the step works on
    op        the instruction: words after expansion, environment, user, mounts, flags
    inputs    for each source in order: digest of the files that are taken, or of the whole chain
    format    version of layers and keys; another one misses everything

Why the chain id: a step depends on the files below it, not on how they came about. A base image under
another name or label, or a rebuilt stage with the same layers, therefore still hits.
What does not count: times of files, secrets' values, contents of cache mounts, proxies, addresses of added
hosts; all as in BuildKit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagesmith.oci.codec import dumps
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.solve.step import CopyOp, MakeDirOp, Op, RunOp

__all__ = ["FORMAT", "base_of", "key_of", "parts_of"]

#: Raise it when the bytes of layers or the meaning of a part change.
FORMAT = 3


def parts_of(op: Op, below: Digest | None, inputs: Sequence[str]) -> dict[str, object]:
    """The parts of the key of an operation on the layers of a chain id, whose inputs have these digests."""
    return {"format": FORMAT, "below": str(below or ""), "op": _op(op), "inputs": list(inputs)}


def key_of(parts: Mapping[str, object]) -> str:
    """The key: a digest of the parts."""
    return digest_bytes(dumps(parts, sort_keys=True)).hex


def base_of(parts: Mapping[str, object]) -> str:
    """What a step has in common with its earlier builds: its instruction without what may vary."""
    op = parts["op"]
    assert isinstance(op, dict)
    stable = {k: op[k] for k in ("kind", "argv", "dest", "paths", "path") if k in op}
    return digest_bytes(dumps({"op": stable}, sort_keys=True)).hex


def _op(op: Op) -> dict[str, object]:
    match op:
        case RunOp():
            return _run(op)
        case CopyOp():
            return _copy(op)
        case MakeDirOp():
            return {"kind": "mkdir", "path": op.path, "user": op.user, "time": op.time_ns}
        case _:
            return {"kind": type(op).__name__}


def _copy(op: CopyOp) -> dict[str, object]:
    return {
        "kind": "add" if op.is_add else "copy",
        "dest": op.dest,
        "paths": [s.path for s in op.sources],
        "chown": op.chown,
        "chmod": op.chmod,
        "link": op.link,
        "parents": op.parents,
        "excludes": list(op.excludes),
        "unpack": op.unpack,
    }


def _run(op: RunOp) -> dict[str, object]:
    mounts = []
    for m in op.mounts:
        mount = m.mount
        entry: dict[str, object] = {"type": mount.type, "target": mount.target}
        if mount.type in ("bind", "cache"):
            entry |= {"source": mount.source, "readonly": mount.readonly}
        elif mount.type == "tmpfs":
            entry["size"] = mount.size
        else:
            entry |= {"id": mount.id, "required": mount.required, "env": mount.env}
        if mount.type in ("secret", "ssh"):
            entry |= {"mode": mount.mode, "uid": mount.uid, "gid": mount.gid}
        mounts.append(entry)
    return {
        "kind": "run",
        "argv": list(op.argv),
        "env": [f"{k}={v}" for k, v in op.env],
        "cwd": op.cwd,
        "user": op.user,
        "mounts": mounts,
        "network": op.network,
        "security": op.security,
        "hostname": op.hostname,
        "hosts": [name for name, _ in op.extra_hosts],
        "ulimits": [list(u) for u in op.ulimits],
        "platform": str(op.platform or ""),
    }
