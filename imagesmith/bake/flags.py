"""A target as words of `imagesmith build`, so that what it may say is read and refused in one place.

Why words: `build` reads and checks every option there is; a second reading would drift from it.
Spec: buildx's bake/bake.go, toBuildOpt: a Dockerfile is named from its context.
Trust: attributes of a bake file. Each word has its flag's name before a `=`, so no value is taken for a flag.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from imagesmith.bake.entries import flag_text
from imagesmith.bake.places import fault
from imagesmith.bake.selection import local_path
from imagesmith.bake.target import ATTRIBUTES, Setting, Target
from imagesmith.cacheoptions import filled
from imagesmith.errors import DefinitionError

__all__ = ["call_of", "dockerfile_of", "inline_of", "words_of"]

#: Flags that take one text, one text of several, or one entry of several.
_TEXT = {"target": "--target", "network": "--network", "shm-size": "--shm-size"}
_EACH = {
    "annotations": "--annotation", "tags": "--tag", "platforms": "--platform", "ulimits": "--ulimit",
    "no-cache-filter": "--no-cache-filter", "entitlements": "--allow", "attest": "--attest",
    "cache-from": "--cache-from", "cache-to": "--cache-to", "output": "--output", "secret": "--secret",
    "ssh": "--ssh",
}  # fmt: skip
_CACHES = ("cache-from", "cache-to")
_PAIRS = {"contexts": "--build-context", "args": "--build-arg", "labels": "--label"}
_SWITCHES = {"pull": "--pull", "no-cache": "--no-cache"}
#: What is asked otherwise, or says nothing to a build.
_APART = ("description", "context", "dockerfile", "dockerfile-inline", "call", "policy")


def words_of(target: Target) -> list[str]:
    """The flags, and the context as the last word.

    A link stands there as `--build-context=NAME=target:OTHER`. What has no flag is to be asked for: inline_of
    and call_of.

    Raises:
        DefinitionError: the target asks for what `imagesmith build` cannot do.
    """
    out: list[str] = []
    for name in ATTRIBUTES:
        value = target.attributes.get(name)
        if value is None or name in _APART:
            continue
        out += _words(target, name, value)
    _check_policy(target)
    dockerfile = dockerfile_of(target)
    if dockerfile is not None and inline_of(target) is None:
        out.append(f"--file={dockerfile}")
    context = str(target.attributes.get("context", "."))
    path = local_path(context)
    context = context if path is None else path
    return [*out, f"./{context}" if context.startswith("-") else context]


def _words(target: Target, name: str, value: Setting) -> list[str]:
    if name in _TEXT:
        return [f"{_TEXT[name]}={value}"] if value else []
    if name in _SWITCHES:
        return [_SWITCHES[name]] if value else []
    if name in _EACH and isinstance(value, tuple):
        texts = [flag_text(name, v) if not isinstance(v, str) else v for v in value]
        return [f"{_EACH[name]}={_filled(target, text) if name in _CACHES else text}" for text in texts]
    if name in _PAIRS and isinstance(value, Mapping):
        return [f"{_PAIRS[name]}={key}={_place(name, text)}" for key, text in value.items()]
    if name == "extra-hosts" and isinstance(value, Mapping):
        return [f"--add-host={host}={ip}" for host, ips in value.items() for ip in ips.split(",")]
    if name == "resources" and isinstance(value, Mapping):
        return [f"--resource={key}={text}" for key, text in value.items()]
    return []


def _filled(target: Target, text: str) -> str:
    """A place of a cache with `{target}` and `{platform}` filled in."""
    platforms = target.attributes.get("platforms", ())
    assert isinstance(platforms, tuple)
    return filled(text, target.name, ",".join(str(platform) for platform in platforms))


def _place(name: str, text: str) -> str:
    """A context without `cwd://`; other values as they are."""
    return local_path(text) or text if name == "contexts" and text.startswith("cwd://") else text


def _check_policy(target: Target) -> None:
    policies = target.attributes.get("policy", ())
    assert isinstance(policies, tuple)
    for policy in policies:
        assert isinstance(policy, Mapping)
        if policy.get("disabled") != "true":
            what = policy.get("filename") or ",".join(f"{key}={value}" for key, value in policy.items())
            raise _refusal(
                target, f"policy {what}: policies in Rego are not supported",
                "--policy FILE takes containers' policy.json; --set '*.policy=disabled=true' does without",
            )  # fmt: skip


def _refusal(target: Target, message: str, hint: str) -> DefinitionError:
    message = f"target {target.name}: {message}"
    if target.span is None:
        return DefinitionError(message, hint=hint)
    return fault(target.span, message, hint=hint)


def dockerfile_of(target: Target) -> str | None:
    """The path of the Dockerfile, from here where the context is here; None for the context's usual one."""
    given = str(target.attributes.get("dockerfile") or "Dockerfile")
    if given == "Dockerfile":
        return None
    path, folder = local_path(given), local_path(str(target.attributes.get("context", ".")))
    if path is None:
        return given
    if given.startswith("cwd://"):
        return os.path.abspath(path)
    return path if folder is None or folder == "." else os.path.join(folder, path)


def inline_of(target: Target) -> bytes | None:
    """The Dockerfile that stands in the definition; None where there is none."""
    text = target.attributes.get("dockerfile-inline")
    return text.encode(errors="surrogateescape") if isinstance(text, str) and text else None


def call_of(target: Target) -> str:
    """What is asked instead of a build; empty for a build."""
    call = target.attributes.get("call", "")
    return call if isinstance(call, str) and call != "build" else ""
