"""A Kubernetes API server that knows Jobs, pods and their logs, and starts nothing by itself.

Jobs are made into pods at once; a test says what becomes of them: `begin`, `say`, `end`. Answers have the
form of the real one's, its statuses among them.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["FakeKube", "fake_kube", "refusal"]


class FakeKube:
    """What the cluster has."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, list[str]] = {}
        self.asked: list[tuple[str, str]] = []
        self.failing = 0
        self.url = ""

    def create(self, job: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        name = job["metadata"]["name"]
        if name in self.jobs:
            return 409, refusal(409, f'jobs.batch "{name}" already exists')
        job["status"] = {"conditions": [], "completedIndexes": ""}
        self.jobs[name] = job
        for index in range(job["spec"]["completions"]):
            template = job["spec"]["template"]
            pod = f"{name}-{index}-x"
            self.pods[pod] = {
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "name": pod, "labels": template["metadata"]["labels"],
                    "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
                    "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": "u"}],
                },
                "spec": template["spec"], "status": {"phase": "Pending"},
            }  # fmt: skip
            self.logs[pod] = []
        return 201, job

    def begin(self, pod: str) -> None:
        self.pods[pod]["status"]["phase"] = "Running"

    def say(self, pod: str, text: str) -> None:
        at = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e9):09d}Z"
        self.logs[pod].append(f"{stamp} {text}")

    def end(self, pod: str) -> None:
        self.pods[pod]["status"]["phase"] = "Succeeded"
        owner = self.pods[pod]["metadata"]["ownerReferences"][0]["name"]
        index = self.pods[pod]["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
        status = self.jobs[owner]["status"]
        done = sorted({*filter(None, status["completedIndexes"].split(",")), index})
        status["completedIndexes"] = ",".join(done)
        if len(done) == self.jobs[owner]["spec"]["completions"]:
            status["conditions"] = [{"type": "Complete", "status": "True"}]

    def delete(self, name: str) -> None:
        del self.jobs[name]
        for pod in [p for p, o in self.pods.items() if o["metadata"]["ownerReferences"][0]["name"] == name]:
            del self.pods[pod]

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, Any]:
        parts = urlsplit(target)
        words, query = parts.path.strip("/").split("/"), parse_qs(parts.query)
        self.asked.append((method, parts.path))
        if self.failing:
            self.failing -= 1
            return 503, refusal(503, "the server is away")
        if words[:2] == ["apis", "batch"]:
            name = words[6] if len(words) > 6 else ""
            if method == "POST":
                return self.create(json.loads(body))
            if name not in self.jobs:
                return 404, refusal(404, f'jobs.batch "{name}" not found')
            if method == "DELETE":
                self.delete(name)
                return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}
            return 200, self.jobs[name]
        if words[-1] == "log":
            if words[-2] not in self.logs or self.pods[words[-2]]["status"]["phase"] == "Pending":
                return 400, refusal(400, "the container is waiting to start")
            return 200, "".join(f"{line}\n" for line in self.logs[words[-2]])
        key, _, value = query["labelSelector"][0].partition("=")
        found = [p for p in self.pods.values() if p["metadata"]["labels"].get(key) == value]
        return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": found}


def refusal(code: int, message: str) -> dict[str, Any]:
    return {
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code,
        "metadata": {},
    }  # fmt: skip


@contextmanager
def fake_kube() -> Iterator[FakeKube]:
    """A cluster, while a `with` lasts."""
    cluster = FakeKube()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            code, found = cluster.answer(self.command, self.path, body)
            raw = found.encode() if isinstance(found, str) else json.dumps(found).encode()
            self.send_response(code)
            self.send_header("content-type", "text/plain" if isinstance(found, str) else "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_DELETE = _do

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cluster.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield cluster
        finally:
            server.shutdown()
