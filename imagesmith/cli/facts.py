"""Tables of what the program says and reads beside its command line: statuses, variables, files.

Why in code: the site and the man pages are made of them, and tests hold them against it: every status that an
error has, README's table, and every variable that some module reads (tests/rules/test_variables.py).
"""

from __future__ import annotations

from imagesmith.values import frozen

__all__ = ["FILES", "STATUSES", "VARIABLES", "FilePage", "StatusPage", "VariablePage"]


@frozen
class StatusPage:
    """An exit status, and what it means."""

    status: int
    meaning: str


@frozen
class VariablePage:
    """A variable of the environment.

    name    as it is spelled; where case does not matter, in capitals
    what    what it does, one sentence without a full stop
    where   the commands that read it, or what does; empty for all
    """

    name: str
    what: str
    where: str = ""


@frozen
class FilePage:
    """A file or folder of settings; ~ is the user's home.

    path   where it is
    what   what is in it, one sentence without a full stop
    form   how it is written
    """

    path: str
    what: str
    form: str


STATUSES = (
    StatusPage(0, "done"),
    StatusPage(1, "a fault of the machine, or of imagesmith"),
    StatusPage(2, "the command line, or a file of settings or credentials that it names"),
    StatusPage(3, "the Dockerfile; the message has file, line and a caret"),
    StatusPage(4, "a RUN step's own command failed"),
    StatusPage(5, "the build context, or a file of yours that cannot be read or written"),
    StatusPage(6, "content that is not what its digest or format promises"),
    StatusPage(7, "a registry; or an image that is not there, in the store or a layout either"),
    StatusPage(8, "the local store; or a disk that is full, read-only or broken, wherever it is"),
    StatusPage(9, "no sandbox for RUN, or no emulator for its platform"),
    StatusPage(
        10,
        "`reproduce` or `diff` found a difference, `pin --check` a source that is missing or behind, or "
        "`explore --ci` a limit that is broken",
    ),
    StatusPage(11, "a signature is missing or not good, or a policy refuses an image"),
    StatusPage(130, "stopped"),
    StatusPage(141, "whoever read the output went away"),
)

_KEYS = "sign, attest, key, build --sign"
_DAEMON = "docker-daemon:, build --load"
VARIABLES = (
    VariablePage("IMAGESMITH_ROOT", "the folder of the store, where no --root is given"),
    VariablePage("IMAGESMITH_CONFIG", "the file of defaults, instead of the project's and the user's; empty"
                 " for none"),
    VariablePage("IMAGESMITH_POLICY", "the policy that images must meet where no --policy is given: a file,"
                 " `machine` or `none`"),
    VariablePage("IMAGESMITH_KEY_PASSWORD", "the password of a private key", _KEYS),
    VariablePage("IMAGESMITH_PROXY_PASSWORD", "the password for the registry that is cached",
                 "registry serve --proxy"),
    VariablePage("BUILDKIT_PROGRESS", "how progress is shown where no --progress is given", "build, bake"),
    VariablePage("DOCKER_DEFAULT_PLATFORM", "the platform to build for, where no --platform is given",
                 "build"),
    VariablePage("SOURCE_DATE_EPOCH", "the time that an image is of, in seconds since 1970; the same as the"
                 " build argument", "build, bake, pin, and commands that edit or sign images"),
    VariablePage("BUILDX_METADATA_PROVENANCE", "how much provenance --metadata-file has: max, min or false",
                 "build, bake"),
    VariablePage("BUILDX_METADATA_WARNINGS", "with `true`, --metadata-file has the warnings", "build, bake"),
    VariablePage("BUILDX_NO_DEFAULT_OCI_ARTIFACT", "with `true`, attestations are no OCI artifacts",
                 "build, bake"),
    VariablePage("BUILDX_BAKE_FILE", "the definitions, where no --file is given", "bake"),
    VariablePage("BUILDX_BAKE_PATH_SEPARATOR", "what stands between the names of BUILDX_BAKE_FILE", "bake"),
    VariablePage("BUILDX_BAKE_FILE_RELATIVE_PATHS", "with `true`, paths are those beside the definition",
                 "bake"),
    VariablePage("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP", "with `true`, variables of definitions take nothing"
                 " from the environment", "bake"),
    VariablePage("BUILDX_BAKE_ENTITLEMENTS_FS", "with `false`, targets may use files outside of the folder",
                 "bake"),
    VariablePage("BAKE_ALLOW_REMOTE_FS_ACCESS", "with `true`, a definition from elsewhere may use files here",
                 "bake"),
    VariablePage("BUILDX_BAKE_GIT_SSH", "agents for a definition in a repository that is reached by ssh",
                 "bake"),
    VariablePage("BUILDKIT_STEP_LOG_MAX_SIZE", "how many bytes of a step's output are shown; -1 for all",
                 "build, bake"),
    VariablePage("BUILDKIT_STEP_LOG_MAX_SPEED", "how many bytes a second of it; -1 for all", "build, bake"),
    VariablePage("DOCKER_CONFIG", "the folder of docker's config.json, instead of ~/.docker"),
    VariablePage("DOCKER_AUTH_CONFIG", "credentials, as the text of a config.json"),
    VariablePage("REGISTRY_AUTH_FILE", "the file of credentials, instead of the usual ones"),
    VariablePage("CONTAINERS_REGISTRIES_CONF", "mirrors and trust, instead of the machine's registries.conf"),
    VariablePage("COSIGN_PASSWORD", "the same as IMAGESMITH_KEY_PASSWORD", _KEYS),
    VariablePage("COSIGN_REPOSITORY", "the repository of signatures, instead of the image's",
                 "sign, verify, attest, verify-attestation"),
    VariablePage("DOCKER_HOST", "where the docker daemon listens", _DAEMON),
    VariablePage("DOCKER_CONTEXT", "the docker context whose daemon is meant", _DAEMON),
    VariablePage("DOCKER_TLS", "TLS for DOCKER_HOST", _DAEMON),
    VariablePage("DOCKER_TLS_VERIFY", "the same, and the daemon's certificate is checked",
                 _DAEMON),
    VariablePage("DOCKER_CERT_PATH", "the folder of certificates for it", _DAEMON),
    VariablePage("CONTAINERD_ADDRESS", "containerd's socket", "build --load containerd"),
    VariablePage("CONTAINERD_NAMESPACE", "containerd's namespace", "build --load containerd"),
    VariablePage("BUILDX_BUILDER", "what `docker buildx inspect` calls the one builder", "docker-plugin"),
    VariablePage("KANIKO_DIR", "the folder whose .docker/config.json has the credentials, instead of /kaniko",
                 "kaniko"),
    VariablePage("KANIKO_REGISTRY_MIRROR", "mirrors beside those of --registry-mirror", "kaniko"),
    VariablePage("KANIKO_REGISTRY_MAP", "maps beside those of --registry-map", "kaniko"),
    VariablePage("GIT_USERNAME", "whom a git context is fetched as", "kaniko"),
    VariablePage("GIT_PASSWORD", "the password of GIT_USERNAME", "kaniko"),
    VariablePage("GIT_TOKEN", "a token, instead of both", "kaniko"),
    VariablePage("GIT_PULL_METHOD", "https or http, for git:// contexts", "kaniko"),
    VariablePage("S3_ENDPOINT", "the server of s3:// contexts, instead of Amazon's", "kaniko"),
    VariablePage("S3_FORCE_PATH_STYLE", "with `true`, the bucket is a part of the path there", "kaniko"),
    VariablePage("SSH_AUTH_SOCK", "the agent of --ssh default", "build, bake, pin"),
    VariablePage("JOB_COMPLETION_INDEX", "which unit is done, as Kubernetes says it", "work"),
    VariablePage("SLURM_ARRAY_TASK_ID", "which unit is done, as Slurm says it", "work"),
    VariablePage("KUBERNETES_SERVICE_HOST", "tells that this is a pod, for hints", "doctor, RUN"),
    VariablePage("HTTP_PROXY", "the proxy for http addresses; small letters count before capitals"),
    VariablePage("HTTPS_PROXY", "the proxy for https addresses"),
    VariablePage("ALL_PROXY", "the proxy for both, where they have none of their own"),
    VariablePage("NO_PROXY", "hosts and networks that are reached without one, with commas between them"),
    VariablePage("SSL_CERT_FILE", "a file of the authorities that are believed"),
    VariablePage("SSL_CERT_DIR", "a folder of them"),
    VariablePage("CI", "tags of base images are resolved anew on every build, and progress is plain"),
    VariablePage("GITHUB_ACTIONS", "output in the groups of GitHub's log, and errors as annotations"),
    VariablePage("GITHUB_WORKSPACE", "the checkout that annotations are relative to"),
    VariablePage("GITLAB_CI", "output in the sections of GitLab's log"),
    VariablePage("TF_BUILD", "what Azure Pipelines would take for a command is not written to its log"),
    VariablePage("TEAMCITY_VERSION", "the same for TeamCity"),
    VariablePage("NO_COLOR", "no colours"),
    VariablePage("FORCE_COLOR", "colours also where no terminal is; 0 for none"),
    VariablePage("TERM", "with `dumb`, neither colours nor a screen that is drawn over"),
    VariablePage("COLUMNS", "how wide lines are"),
    VariablePage("HOME", "the user's home"),
    VariablePage("PATH", "where git, emulators, runtimes and credential helpers are found"),
    VariablePage("XDG_DATA_HOME", "the store is `imagesmith` in it, instead of ~/.local/share"),
    VariablePage("XDG_CONFIG_HOME", "the folder of the user's settings, instead of ~/.config"),
    VariablePage("XDG_RUNTIME_DIR", "podman's credentials are in `containers/auth.json` below it"),
    VariablePage("TMPDIR", "the folder of small temporary files"),
)  # fmt: skip

_CONF, _POLICY = "TOML, containers-registries.conf(5)", "JSON, containers-policy.json(5)"
FILES = (
    FilePage("imagesmith.toml", "defaults for flags, of the project: where the command runs, or above it"
             " in the same git repository", "TOML, docs/configuration.md"),
    FilePage("~/.config/imagesmith/imagesmith.toml", "defaults for flags, of the user",
             "TOML, docs/configuration.md"),
    FilePage("~/.docker/config.json", "credentials and their helpers, and the docker context in use",
             "JSON, docker's"),
    FilePage("/kaniko/.docker/config.json", "the same for `kaniko`, where DOCKER_CONFIG is not set",
             "JSON, docker's"),
    FilePage("$XDG_RUNTIME_DIR/containers/auth.json", "credentials, as podman and skopeo keep them",
             "JSON, containers-auth.json(5)"),
    FilePage("~/.config/containers/auth.json", "the same, for longer", "JSON, containers-auth.json(5)"),
    FilePage("~/.dockercfg", "credentials, as docker kept them once", "JSON, docker's"),
    FilePage("~/.config/containers/registries.conf", "mirrors, trust, blocked registries; with *.conf of"
             " registries.conf.d beside it", _CONF),
    FilePage("/etc/containers/registries.conf", "the same for the machine, where the user has none",
             _CONF),
    FilePage("/etc/containerd/certs.d/HOST/hosts.toml", "mirrors and certificates of one registry",
             "TOML, containerd's"),
    FilePage("/etc/docker/certs.d/HOST/", "certificates of one registry: *.crt, *.cert and *.key; hosts.toml",
             "PEM"),
    FilePage("/etc/containers/certs.d/HOST/", "the same", "PEM"),
    FilePage("~/.config/containers/certs.d/HOST/", "the same, of the user", "PEM"),
    FilePage("~/.config/docker/certs.d/HOST/", "the same, of the user", "PEM"),
    FilePage("~/.config/containers/policy.json", "who must have signed images, for --policy machine",
             _POLICY),
    FilePage("/etc/containers/policy.json", "the same for the machine, where the user has none",
             _POLICY),
    FilePage("/etc/subuid, /etc/subgid", "ids that are lent to a user, for RUN", "subuid(5)"),
    FilePage("CONTEXT/.dockerignore", "what a build does not see of its context; DOCKERFILE.dockerignore"
             " beside the Dockerfile goes before it", "patterns, docker's"),
    FilePage("Dockerfile.lock", "the digests of a Dockerfile's sources; `imagesmith pin` writes it", "JSON"),
)  # fmt: skip
