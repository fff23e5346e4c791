"""Flags and commands of docker, kaniko, buildah, skopeo, crane and cosign: what they are here.

Why: whoever comes from there types them, or has them in a CI file. One that changes nothing here is passed
over; one that would change something is refused by name, with what to use instead. None is taken and ignored.
Spec: `docker build --help` (28), `docker buildx build --help` (0.21), kaniko 1.24's README, buildah-build(1),
skopeo-copy(1), crane's cmd/crane/doc, cosign's doc/ (3.1).
"""

from __future__ import annotations

from imagesmith.cli.kanikoflags import KANIKO_LINES
from imagesmith.dockerfile.suggest import suggest
from imagesmith.errors import UsageError

__all__ = ["boolean", "instead_of", "lines_of", "passed_over"]

#: A line for flags that are taken alike: `switch` and `value` are passed over, `off` and `on` are switches
#: that are passed over where they say that, all else is refused; behind the `=` is what to use instead.
_BUILD = """
switch --rm --force-rm --compress --stream
value  --builder
off    --single-snapshot = --squash
no     --security-opt = RUN --security=insecure, with --allow security.insecure
no     --source-policy-file --signature-policy = --policy FILE, for images
no     --print = --call

switch --no-push --cleanup --force --use-new-run --skip-unused-stages --compressed-caching --ignore-var-run
switch --skip-push-permission-check --cache-copy-layers --cache-run-layers --preserve-context --materialize
switch --skip-default-registry-fallback --no-push-cache
value  --snapshot-mode --snapshotMode
on     --cache --layers = --no-cache
no     --context = the context is a word of its own: build DIR
no     --context-sub-path = a git context names a folder: URL#ref:folder
no     --dockerfile = -f FILE
no     --destination -d = -t REF --push
no     --tar-path --tarPath = -o type=docker,dest=FILE
no     --oci-layout-path = -o type=oci,tar=false,dest=DIR
no     --cache-repo = --cache-from type=registry,ref=REF and --cache-to type=registry,ref=REF
no     --cache-dir = --cache-from type=local,src=DIR
no     --custom-platform --customPlatform --arch --os --variant = --platform OS/ARCH[/VARIANT]
no     --reproducible --timestamp --source-date-epoch = SOURCE_DATE_EPOCH, and rewrite-timestamp=true in -o
no     --kaniko-dir = --root DIR
no     --insecure-pull --skip-tls-verify --skip-tls-verify-pull = --insecure, or --insecure-registry HOST
no     --skip-tls-verify-registry = --insecure-registry HOST
no     --registry-mirror = --registries-conf FILE
no     --push-retry --image-download-retry --image-fs-extract-retry = nothing: all is tried again
no     --verbosity --log-format --logfile = -v, --progress plain or rawjson, 2> FILE
off    --log-timestamp = --progress rawjson
no     --ignore-path = RUN --mount=type=tmpfs,target=PATH
no     --compression --compression-level = -o type=image,compression=gzip|zstd,compression-level=N
no     --force-build-metadata = LABEL in the Dockerfile
no     --git = URL?branch=NAME, or another word of the address
no     --image-name-with-digest-file --image-name-tag-with-digest-file = --metadata-file FILE
no     --credential-helpers = credHelpers in ~/.docker/config.json, or --authfile FILE
no     --push-ignore-immutable-tag-errors = a tag that the registry does not have
no     --registry-certificate --registry-client-cert = --cert-dir DIR, or --hosts-dir DIR
no     --registry-map = --registries-conf FILE

no     --jobs = stages are built side by side, as many as there are processors
no     --format = -o type=image,oci-mediatypes=true or false
no     --pull-always = --pull
no     --pull-never = images of the store are used first, without --pull
no     --manifest = -t REF
no     --volume = RUN --mount=type=bind, with --build-context NAME=DIR
no     --ignorefile = DOCKERFILE.dockerignore beside the Dockerfile
no     --env = ENV in the Dockerfile
no     --from = --build-context NAME=docker-image://REF
no     --userns --userns-uid-map --userns-gid-map --userns-uid-map-user --userns-gid-map-group = --isolation
switch --compat-volumes --inherit-labels --inherit-annotations --no-hostname --no-hosts --http-proxy --stdin
no     --all-platforms = --platform A,B
no     --cap-add --device = RUN --security=insecure, with --allow security.insecure
no     --cap-drop --group-add --hooks-dir --ipc --pid --uts --cgroupns = nothing; see --isolation
no     --runtime --runtime-flag = --isolation oci
no     --dns --dns-option --dns-search = --network host
no     --identity-label --layer-label --unsetlabel --unsetenv --unsetannotation = `imagesmith mutate REF`
no     --cpp-flag = a Dockerfile that cpp has been through, with -f FILE
no     --squash-all = build, then `imagesmith flatten REF`
no     --omit-history --disable-compression = -o type=image, with its options
no     --rewrite-timestamp = rewrite-timestamp=true in -o
no     --sign-by = --sign KEY
no     --decryption-key --cw = another tool, for what is pushed or pulled
no     --logsplit --save-stages --stage-labels = --target STAGE
no     --os-feature --os-version = --platform OS/ARCH[/VARIANT]
"""

#: Of every command that speaks to registries.
_REGISTRY = """
switch --disable-content-trust
on     --tls-verify = --insecure, or --insecure-registry HOST
no     --creds --registry-token = `imagesmith login`, or --authfile FILE
no     --no-creds = --authfile FILE, with an object without logins: {}
no     --override-arch --override-os --override-variant = --platform OS/ARCH[/VARIANT]
no     --retry-times --retry --retry-delay --command-timeout = nothing: requests are tried again by themselves
no     --registries.d --tmpdir = nothing: signatures are always looked for, and --root is where files go
off    --debug -D = -v
"""

#: Of the verbs that move images.
_TRANSFER = """
switch --preserve-digests --remove-signatures --dest-precompute-digests --dest-oci-accept-uncompressed-layers
no     --src-daemon-host --dest-daemon-host = docker-archive:FILE, and `docker load` or `docker save`
no     --src-shared-blob-dir --dest-shared-blob-dir = oci:DIR, whose blobs are its own
no     --sign-by --sign-passphrase-file --sign-by-sigstore = `imagesmith sign REF@DIGEST`
no     --sign-by-sigstore-private-key --sign-identity --sign-by-sq-fingerprint = `imagesmith sign REF@DIGEST`
no     --encryption-key --encrypt-layer --decryption-key = another tool: layers are not encrypted here
no     --image-parallel-copies = nothing: several blobs go at a time
no     --allow-nondistributable-artifacts = foreign layers are left where they are
no     --additional-tag = `imagesmith tag docker://REF TAG`
"""
#: Of those where both sides are told apart.
_SIDES = """
no     --creds --username --password --no-creds --registry-token = --src-creds, --dest-creds and the like
no     --dest-compress = --compression gzip
no     --dest-decompress = --compression uncompressed
"""
#: Of those with one registry.
_ONE_SIDE = """
on     --src-tls-verify --dest-tls-verify = --tls-verify=false
no     --src-creds --dest-creds --src-username --dest-username --src-password --dest-password = --creds
no     --src-registry-token --dest-registry-token = --registry-token
no     --src-no-creds --dest-no-creds = --no-creds
no     --src-authfile --dest-authfile = --authfile FILE
no     --src-cert-dir --dest-cert-dir = --cert-dir DIR
no     --dest-compress --dest-decompress --dest-compress-format = `imagesmith copy --compression`
no     --dest-compress-level --dest-force-compress-format = `imagesmith copy --compression`
no     --multi-arch = --platform OS/ARCH, or `imagesmith copy --multi-arch`
no     --all-tags = `imagesmith copy --all-tags`
"""

#: Of the verbs that sign, and of those that verify; cosign 3 has them.
_SIGNING = """
switch --yes -y --record-creation-timestamp
on     --upload = nothing: the signature is to stand beside the image
off    --tlog-upload --use-signing-config --issue-certificate = nothing: no log and no service is asked
no     --new-bundle-format = --form bundle, tag or both
no     --fulcio-url --rekor-url --oidc-issuer --oidc-provider --oidc-client-id --identity-token = --key FILE
no     --sk --slot --certificate --certificate-chain --cert --cert-chain --signing-config = --key FILE
no     --timestamp-server-url --trusted-root = nothing: no service is asked when a key signs
no     --attachment = `imagesmith sign REF@DIGEST` of what is attached
no     --registry-referrers-mode = --form bundle
no     --output-signature --output-certificate --output-payload --bundle = `imagesmith referrers REF`
no     --payload --signature = a signature that is made here
"""
_VERIFYING = """
switch --insecure-ignore-tlog --insecure-ignore-sct --private-infrastructure --offline --new-bundle-format
on     --check-claims = nothing: a signature of another image is none
no     --local-image = oci:DIR
no     --sk --slot = --key FILE
no     --certificate --certificate-chain --ca-roots --ca-intermediates --sct --rekor-url = --trusted-root FILE
no     --timestamp-certificate-chain --use-signed-timestamps = --trusted-root FILE
no     --certificate-github-workflow-trigger --certificate-github-workflow-sha = --certificate-identity
no     --certificate-github-workflow-name --certificate-github-workflow-repository = --certificate-identity
no     --certificate-github-workflow-ref = --certificate-identity
no     --policy = --json, and a program that judges
no     --attachment = `imagesmith verify REF@DIGEST` of what is attached
no     --experimental-oci11 --max-workers --signature --payload --signature-digest-algorithm = nothing
"""
_COSIGN = """
no     --allow-insecure-registry --allow-http-registry = --insecure, or --insecure-registry HOST
no     --registry-username --registry-password --k8s-keychain = `imagesmith login`, or --creds USER
no     --registry-cacert --registry-client-cert --registry-client-key = --cert-dir DIR
no     --attachment-tag-prefix = COSIGN_REPOSITORY
"""

#: Of single commands, beside those.
_OWN = {
    **dict.fromkeys(("sign", "attest"), _SIGNING + _COSIGN),
    **dict.fromkeys(("verify", "verify-attestation"), _VERIFYING + _COSIGN),
    "build": _BUILD,
    "kaniko": KANIKO_LINES,
    "bake": """
value  --builder
no     --execution = --keep-going, for defer-error
no     --list-targets --list-variables = --list=targets, --list=variables
no     --tag -t = --set 'TARGET.tags=REF'
no     --output -o = --set '*.output=type=…'
no     --platform = --set '*.platform=OS/ARCH'
no     --build-arg = --set '*.args.NAME=VALUE'
no     --label = --set '*.labels.NAME=VALUE'
no     --secret --ssh = --set '*.secrets=…' or '*.ssh=…', or the target's own
""",
    **dict.fromkeys(("push", "pull", "save", "load"), _TRANSFER + _ONE_SIDE),
    "copy": _TRANSFER + _SIDES,
    "mirror": _TRANSFER
    + _SIDES
    + """
switch --keep-going
no     --src -s --dest -d --src-yaml = a list, one of skopeo's among them, and --to PREFIX
no     --append-suffix = a list with targets: SOURCE TARGET
no     --tags --exclude --all-tags = a pattern in the list, in the place of the tag
no     --digestfile --digest-file = --json
""",
    "artifact": """
switch --no-tty
no     --disable-path-validation = a path without `..`, that does not begin with /
no     --allow-path-traversal = another -o
no     --image-spec = nothing: OCI 1.1
no     --oci-layout = oci:DIR
no     --oci-layout-path = oci:DIR:NAME
no     --export-manifest = `imagesmith manifest get`
no     --concurrency = nothing: several files go at a time
no     --ca-file --cert-file --key-file = --cert-dir DIR
no     --plain-http = --insecure, or --insecure-registry HOST
no     --registry-config --to-registry-config --from-registry-config = --authfile FILE
no     --password-stdin --identity-token --identity-token-stdin = --creds USER
no     --include-subject = `imagesmith copy`
""",
    "inspect": """
switch --no-tags -n
value  --type
no     --size -s = `imagesmith images`
no     --daemon-host = docker-archive:FILE
no     --shared-blob-dir = oci:DIR
no     --manifest-digest = `imagesmith digest REF`
""",
    "login": """
no     --compat-auth-file = --authfile FILE
no     --get-login --secret = --password-stdin
""",
    "logout": """
switch --tls-verify
no     --all -a = a registry by its name
no     --compat-auth-file = --authfile FILE
""",
    "images": """
switch --digests --all -a --no-trunc --tree
no     --filter -f --format = --json, and jq
""",
    "rmi": """
switch --force -f --no-prune
no     --all -a = `imagesmith images`, and each name
no     --platform = a name for each platform
""",
    "prune": """
switch --force -f --volumes
no     --filter = --older-than AGE
""",
    "run": """
no     --detach -d --name --restart --publish -p --publish-all -P = Podman or Docker: nothing stays here
no     --privileged --cap-add --cap-drop --device --gpus --security-opt = Podman or Docker: see --isolation
no     --link --network-alias --ip --mac-address --dns = Podman or Docker, or --network host
no     --pids-limit = Podman or Docker, or systemd-run
no     --label -l --label-file --log-driver --log-opt = Podman or Docker: nothing stays here
""",
}
_OF_REGISTRIES = frozenset((
    "build", "bake", "push", "pull", "copy", "save", "load", "mirror", "inspect", "digest", "tags", "catalog",
    "manifest", "blob", "delete", "index", "append", "mutate", "flatten", "rebase", "export", "diff",
    "attach", "artifact", "referrers", "validate", "login", "tag", "sign", "verify", "attest",
    "verify-attestation",
))  # fmt: skip

#: Commands that are asked no policy, and have no flag for one.
_UNJUDGED = _OF_REGISTRIES - {"build", "bake", "pull", "copy", "mirror", "load"}


def lines_of(command: str) -> list[str]:
    """What is known of flags of other tools for a command, or a command of one."""
    name = command.partition(" ")[0]
    text = _OWN.get(name, "") + (_REGISTRY if name in _OF_REGISTRIES else "")
    text += "\nswitch --insecure-policy" if name in _UNJUDGED else ""
    return [line for line in text.splitlines() if line]


_COMMANDS = """
executor          `imagesmith kaniko`
generate-key-pair `imagesmith key generate`
public-key        `imagesmith key show`
tree download     `imagesmith referrers`
buildx bud        `imagesmith build`
image list        `imagesmith images`
ps exec           `imagesmith run`; it keeps no containers
du                `imagesmith cache ls` for caches; `imagesmith prune` frees what is not used
system info       `imagesmith doctor`, and `imagesmith prune`
history           `imagesmith inspect REF`, or `imagesmith explore REF` with sizes
imagetools        `imagesmith inspect`, `imagesmith index create` and `imagesmith copy`
cp                `imagesmith copy`
sync              `imagesmith mirror`
list-tags         `imagesmith tags`
auth              `imagesmith login`
rm                `imagesmith rmi`, or `imagesmith delete` for a registry
import            `imagesmith load`
commit            `imagesmith mutate` and `imagesmith append`
"""

_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")


def boolean(flag: str, text: str) -> bool:
    """What Go's strconv.ParseBool reads, as docker's switches do.

    Raises:
        UsageError: it is neither true nor false.
    """
    if text not in _TRUE + _FALSE:
        raise UsageError(f"{flag}={text}: a switch is true or false")
    return text in _TRUE


def instead_of(command: str) -> str:
    """What does the work of another tool's command; empty if it is not known."""
    for line in _COMMANDS.strip().splitlines():
        if command in line[:18].split():
            return line[18:]
    return ""


def passed_over(command: str, flag: str, value: str | None, known: list[str]) -> bool:
    """Pass over another tool's flag; returns True if the next word is its value.

    Args:
        command: ours.
        flag: with its dashes.
        value: what stood behind its `=`.
        known: our own flags.

    Raises:
        UsageError: it would change something here, or nobody knows it.
    """
    for line in lines_of(command):
        names, _, instead = line.partition(" = ")
        taken, *flags = names.split() or [""]
        if flag in flags:
            break
    else:
        hint = f"`imagesmith {command} --help` shows what it takes"
        meant = suggest(flag, known) if flag.startswith("--") else ""  # any letter is near to any other
        raise UsageError(f"unknown flag: {flag}{meant}", hint=hint)
    if taken == "value":
        return value is None
    if taken != "no":
        on = value is None or boolean(flag, value)
        if taken == "switch" or on == (taken == "on"):
            return False
    said = flag if value is None else f"{flag}={value}"
    raise UsageError(f"{said}: a flag of another tool, which is not taken here", hint=f"instead: {instead}")
