"""The request of a build, from the flags of `build`.

Why apart from the verb: what a shell asks for a word, and `build --help`, need the flags alone.
"""

from __future__ import annotations

import argparse
import os

from imagesmith.cacheoptions import parse_cache_from, parse_cache_to
from imagesmith.cli.flags import access_of
from imagesmith.cli.limitflags import limits_of
from imagesmith.errors import UsageError
from imagesmith.oci.names import ImageRef
from imagesmith.options import (
    boolean,
    is_indexed,
    parse_build_args,
    parse_emulator,
    parse_hosts,
    parse_labels,
    parse_on_failure,
    parse_platforms,
    parse_secret,
    parse_shell_at,
    parse_size,
    parse_ssh,
    parse_timeout,
    parse_ulimit,
    read_arg_file,
)
from imagesmith.outputoptions import (
    check_deletions,
    check_places,
    loaded,
    parse_annotation,
    parse_output,
    pushed,
)
from imagesmith.request import Attestations, BuildRequest, Output, SecretSource
from imagesmith.values import replace

__all__ = ["build_args_of", "request_of"]

_NO_ARTIFACT = "BUILDX_NO_DEFAULT_OCI_ARTIFACT"
_ENTITLEMENTS = {"network.host", "security.insecure", "buildx.local.delete"}


def request_of(args: argparse.Namespace, *, needs_context: bool = True, target: str = "") -> BuildRequest:
    """The build that the flags ask for.

    Args:
        args: what was given.
        needs_context: refuse words that name no build context; else that of the request may be empty.
        target: the name of the bake file's target that they are of.

    Raises:
        UsageError: a flag that cannot be honoured.
    """
    from imagesmith.context.named import parse_named

    if not args.context and needs_context:
        _attestations(args, {})  # the folder of `--sbom .` is its value
        raise UsageError("no build context is given", hint="`imagesmith build .` takes the current folder")
    if args.context == "-" and args.file == "-":
        raise UsageError("invalid argument: can't use stdin for both build context and dockerfile")
    if args.network not in ("default", "none", "host"):
        raise UsageError(f"invalid netmode {args.network}")
    unknown = set(args.allow) - _ENTITLEMENTS
    if unknown:
        raise UsageError(f"--allow {min(unknown)}: not known; {', '.join(sorted(_ENTITLEMENTS))} are")
    tags = tuple(ImageRef.parse(t) for t in args.tag)
    build_args = build_args_of(args)
    asked = [args.platform] if isinstance(args.platform, str) else args.platform
    platforms = parse_platforms(asked if any(asked) else [os.environ.get("DOCKER_DEFAULT_PLATFORM", "")])
    return BuildRequest(
        name=target,
        context=args.context,
        dockerfile=args.file,
        target=args.target,
        build_args=build_args,
        labels=parse_labels(args.label),
        annotations=tuple(a for text in args.annotation for a in parse_annotation(text)),
        tags=tags,
        platforms=platforms,
        indexed=is_indexed(platforms, build_args),
        outputs=_outputs(args, tags),
        contexts=dict(parse_named(text, linked=bool(target)) for text in args.build_context),
        secrets=_there([parse_secret(s) for s in args.secret]),
        ssh=_agents([parse_ssh(s) for s in args.ssh]),
        cache_from=parse_cache_from(args.cache_from),
        cache_to=parse_cache_to(args.cache_to, build_args),
        squash=args.squash,
        explain=args.explain,
        report=args.report,
        no_cache=() if args.no_cache else _names(args.no_cache_filter) or None,
        cache_ttl_s=parse_timeout(args.cache_ttl, "--cache-ttl") if args.cache_ttl else None,
        pull=args.pull,
        network=args.network,
        extra_hosts=parse_hosts(args.add_host),
        shm_size_bytes=parse_size(args.shm_size, "--shm-size") if args.shm_size else 0,
        ulimits=tuple(parse_ulimit(u) for u in args.ulimit),
        cgroup_parent=args.cgroup_parent,
        limits=limits_of(args),
        emulators=tuple(parse_emulator(text) for text in args.emulator),
        step_timeout_s=parse_timeout(args.step_timeout, "--step-timeout") if args.step_timeout else 0.0,
        on_failure=parse_on_failure(args.on_failure) if args.on_failure else None,
        shell_at=parse_shell_at(args.shell_at) if args.shell_at else None,
        allow=frozenset(args.allow),
        access=access_of(args),
        policy=args.policy,
        attestations=_attestations(args, build_args),
        recorded=_recorded(args),
        pin=None if args.pin is None else boolean("--pin", args.pin),
    )


def build_args_of(args: argparse.Namespace) -> dict[str, str]:
    """The values of ARGs: those of files, and over them those of the command line.

    Raises:
        UsageError: a file, or a word, that cannot be.
    """
    words = [word for path in args.build_arg_file for word in read_arg_file(path)]
    return parse_build_args([*words, *args.build_arg], os.environ)


def _attestations(args: argparse.Namespace, build_args: dict[str, str]) -> Attestations | None:
    """What is to be attested; nothing unless it is asked for."""
    asking = "BUILDKIT_ATTEST_PROVENANCE" in build_args or "BUILDKIT_ATTEST_SBOM" in build_args
    if not (args.provenance or args.sbom or args.attest or asking):
        return None
    from imagesmith.attest.asked import parse_attestations

    return parse_attestations(args.provenance, args.sbom, args.attest, build_args, os.environ)


def _recorded(args: argparse.Namespace) -> str:
    """How much provenance the metadata file has, if one is written."""
    if not args.metadata_file:
        return ""
    from imagesmith.attest.asked import recorded_mode

    return recorded_mode(os.environ)


def _there(secrets: list[SecretSource]) -> tuple[SecretSource, ...]:
    """The secrets, whose files are there: one that is mistyped would else be missing without a word."""
    for secret in secrets:
        if secret.file and not os.path.exists(secret.file):
            raise UsageError(f"--secret id={secret.id}: failed to stat {secret.file}: no such file")
    return tuple(secrets)


def _agents(sockets: list[tuple[str, str]]) -> dict[str, str]:
    """The agents, whose sockets are there, or files of keys that can be read."""
    if sockets:
        from imagesmith.context.sshkeys import check_agents

        for name, places in sockets:
            check_agents(name, places)
    found = dict(sockets)
    if len(found) < len(sockets):
        names = [name for name, _ in sockets]
        raise UsageError(f"--ssh: duplicate agent ID {next(name for name in names if names.count(name) > 1)}")
    return found


def _names(texts: list[str]) -> tuple[str, ...]:
    """Names of flags that may hold several, with commas between them."""
    return tuple(name for text in texts for name in text.split(",") if name)


def _without_artifact(output: Output) -> Output:
    """An output whose statements are no OCI artifacts, unless it says that they are."""
    if output.type in ("local", "tar", "cacheonly") or "oci-artifact" in output.options:
        return output
    return replace(output, options={**output.options, "oci-artifact": "false"})


def _outputs(args: argparse.Namespace, tags: tuple[ImageRef, ...]) -> tuple[Output, ...]:
    outputs = [parse_output(o) for o in args.output]
    if args.push:
        outputs = pushed(outputs)
    if args.load:
        outputs = loaded(outputs, args.load)
    if args.iidfile and any(o.type in ("local", "tar") for o in outputs):
        raise UsageError("local and tar exporters are incompatible with image ID file")
    if boolean(_NO_ARTIFACT, os.environ.get(_NO_ARTIFACT) or "false"):
        outputs = [_without_artifact(o) for o in outputs]
    check_places(outputs)
    check_deletions(outputs, allowed="buildx.local.delete" in args.allow)
    pushes = any(o.pushes for o in outputs)
    if pushes and not tags and not any("name" in o.options for o in outputs):
        raise UsageError("tag is needed when pushing to registry")
    return tuple(outputs)
