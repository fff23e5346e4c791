"""What is told of a build holds no login, and no folder of the machine."""

from __future__ import annotations

import json

import pytest

from imagesmith.attest.redact import plan_document, step_names, without_secrets
from imagesmith.context.git import GitRef
from imagesmith.context.origins import ContextFiles, Fetched, GitFiles
from imagesmith.oci.config import Runtime
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.names import Platform
from imagesmith.ops.add import AddOp
from imagesmith.ops.copy import CopyOp, CopySource
from imagesmith.ops.image import ImageOp
from imagesmith.ops.run import RunOp
from imagesmith.plan.plan import Plan, PlannedImage
from imagesmith.solve.step import Step


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://user:secret@example.com/a.git#main", "https://example.com/a.git#main"),
        ("git@example.com:a/b.git", "git@example.com:a/b.git"),
        ("https://e.example/f?token=secret", "https://e.example/f?token=xxxxx"),
        ("https://e.example/f?a=1&sig=s%20s;b#c=d", "https://e.example/f?a=xxxxx&sig=xxxxx;xxxxx#c=xxxxx"),
        ("https://e.example/f?secret", "https://e.example/f?xxxxx"),
        ("https://e.example/f#secret", "https://e.example/f#xxxxx"),
        ("https://e.example/f?dG9rZW4=&dG9rZQ==", "https://e.example/f?xxxxx&xxxxx"),
        ("https://e.example/f?", "https://e.example/f?"),
        ("https://e.example/f?q=two words", "https://e.example/f?q=xxxxx"),
        ("HTTPS://u:p@e.example/?a=b=c", "HTTPS://e.example/?a=xxxxx"),
        ("ADD 'https://e.example/f?t=s' /x?y=z", "ADD 'https://e.example/f?t=xxxxx' /x?y=z"),
        ('["https://h/?t=s","https://h/?u=s"]', '["https://h/?t=xxxxx","https://h/?u=xxxxx"]'),
        ("https://e.example/r.git?ref=v1&subdir=d", "https://e.example/r.git?ref=v1&subdir=d"),
        ("https://e.example/r.git#v1:d", "https://e.example/r.git#v1:d"),
        ("https://e.example/r.git?ref=v1&token=s", "https://e.example/r.git?ref=xxxxx&token=xxxxx"),
        ("git@e.example:r.git#v1:d", "git@e.example:r.git#v1:d"),
        ("pkg:docker/a@1?platform=linux%2Famd64", "pkg:docker/a@1?platform=linux%2Famd64"),
        ("what? # a=b", "what? # a=b"),
    ],
)
def test_secrets_are_left_out_of_addresses(text: str, told: str) -> None:
    assert without_secrets(text) == told


def plan(place: str) -> Plan:
    digest = digest_bytes(b"m")
    base = Step.of(ImageOp(name="b", named=digest, digest=digest, place=f"oci:{place}/lay"), None, "FROM b")
    sources = (
        CopySource(ContextFiles("context", place), "f"),
        CopySource(Fetched("https://u:secret@e.example/f?token=secret")),
        CopySource(GitFiles(GitRef.parse("https://u:secret@e.example/r.git"))),
    )
    add = Step.of(AddOp(sources=sources, dest="/"), base, "ADD https://u:secret@e.example/f?token=secret /")
    copy = Step.of(CopyOp(sources=(CopySource(add, "/f"),), dest="/g"), base, "COPY --from=x /f /g")
    proxies = (("HTTP_PROXY", "http://u:secret@p.example"),)
    run = Step.of(
        RunOp(argv=("true",), env=(), cwd="/", proxy_env=proxies, cgroup_parent=place), copy, "RUN true"
    )
    return plan_to(run)


def plan_to(tip: Step) -> Plan:
    image = PlannedImage(
        platform=Platform("linux", "amd64"), tip=tip, epoch=1, runtime=Runtime(), author="",
        base_history=(), history=(),
    )  # fmt: skip
    return Plan((image,))


def test_plan_is_told_alike_wherever_it_is_made() -> None:
    one, other = plan_document(plan("/home/alice/app")), plan_document(plan("/srv/build"))
    assert one == other
    text = json.dumps(one)
    assert all(word not in text for word in ("alice", "secret", "sha256:", "/lay", "http://p"))
    assert [step["id"] for step in one["steps"]] == ["step0", "step1", "step2", "step3"]
    assert one["images"][0]["tip"] == {"kind": "step", "id": "step3"}
    assert one["steps"][3]["parent"] == "step2"
    (source,) = one["steps"][2]["op"]["sources"]
    assert source["origin"] == {"kind": "step", "id": "step1"}
    assert set(step_names(plan("/a")).values()) == {"step0", "step1", "step2", "step3"}


def test_where_a_remote_context_is_stays() -> None:
    (step,) = plan_document(
        plan_to(
            Step.of(
                CopyOp(
                    sources=(CopySource(ContextFiles("context", "https://u:secret@e.example/c.tar"), "f"),),
                    dest="/",
                ),
                None,
                "COPY f /",
            )
        )
    )["steps"]
    assert step["op"]["sources"][0]["origin"]["place"] == "https://e.example/c.tar"
