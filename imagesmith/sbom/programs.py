r"""Programs that no package manager installed, known by what they say of themselves in their files.

Official images have their runtime (Python, Node.js, Go, a database, a web server) without a package: it was
built in a RUN, or unpacked from an archive. Each row of the table is the name that such a file has, and the
text in it beside the version; the first pattern of a row that is found counts.

Why only files that no package of the distribution owns (`UNOWNED`): those are told of already, with the
distribution's version, to which its mends belong.
Why a piece at a time: these files have up to hundreds of megabytes. A Java that has a `release` at its root
is told of by that (sbom/jvm.py).
Spec: none; the texts and the package URLs are those by which scanners of vulnerabilities know these programs.
Trust: hostile; files are read in pieces, patterns have bounds, a version is a short text of a few characters.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from imagesmith.sbom.package import Package
from imagesmith.sbom.parts import pieces
from imagesmith.sbom.reading import Files

__all__ = ["UNOWNED", "read", "wants"]

#: See reading.Reader.
UNOWNED = True

#: Of one file, bytes; what pieces of it share, so that no text is cut.
_MOST_BYTES, _SHARED_BYTES = 1 << 30, 1 << 10
#: The name of the file; the type and the name of the purl; where the version is, in the order of trust.
_Row = tuple[re.Pattern[str], str, str, tuple[bytes, ...]]

#: A version of three numbers; the same with what comes before a release.
_V, _W = rb"(\d{1,4}\.\d{1,4}\.\d{1,4})", rb"(\d{1,4}(?:\.\d{1,4}){0,2}(?:(?:alpha|beta|rc)\d)?)"
_GO = rb"(\d{1,4}\.\d{1,4}(?:\.\d{1,4}|(?:alpha|beta|rc)\d{1,3})?)"
_OTP = rb"(\d{1,4}\.\d{1,4}(?:\.\d{1,4}){0,2}(?:-rc\d)?)"
_JDK = rb"(\d{1,4}[^\0]{1,60})"
_ERLANG = (
    rb"/src/otp_src_" + _OTP + rb"/erts/",
    rb"/usr/local/src/otp-" + _OTP + rb"/erts/",
    rb"\0" + _OTP + rb"\0{1,16}Erlang/OTP",
)
_PHP = (rb"X-Powered-By: PHP/(\d{1,4}\.\d{1,4}\.\d{1,4}(?:(?:alpha|beta|RC)\d)?)",)
_RUBY = (rb"ruby (\d{1,4}\.\d{1,4}\.\d{1,4}(?:(?:p|preview|rc|dev)\d{0,6})?) ",)
_NUL = (rb"\0v" + _V + rb"\0",)


def _row(file: str, name: str, *patterns: bytes, kind: str = "generic") -> _Row:
    return re.compile(file), kind, name, patterns


#: `{}` in a pattern is the version that the file's name has.
_ROWS = (
    _row(r"(?:lib)?python(\d+(?:\.\d+)+)(?:[a-z]?\.so.*)?", "python", rb"\0({}[-._a-zA-Z0-9]{0,40})\0"),
    _row(r"libpypy.*\.so.*", "pypy", rb"\[PyPy " + _V),
    _row(r"node", "node", rb"\0(?:node )?v((?:0|4|5|6)\.\d{1,4}\.\d{1,4})\0", rb"node\.js/v" + _V),
    _row(r"go", "go", rb"go" + _GO + rb"\0"),
    _row(r"java", "java/jre", rb"\0openjdk\0java\0\d{1,4}[.0-9]{0,20}\0" + _JDK + rb"\0",
         rb"\0\d{1,4}[.0-9]{0,20}\0{1,16}" + _JDK + rb"\0{1,16}openjdk\0java"),
    _row(r"libjulia-internal\.so", "julia", rb"__init__\0" + _V + rb"\0verify"),
    _row(r"helm", "helm.sh/helm", *_NUL, kind="golang"),
    _row(r"redis-server", "redis", rb"\D(\d{1,4}\.\d{1,4}\.\d{1,4})buildkitsandbox-\d",
         rb"\D(\d{1,4}\.\d{1,4}\.\d{1,4})\w{12}-\d", rb"Redis version " + _V),
    _row(r"valkey-server", "valkey", rb"\D(\d{1,4}\.\d{1,4}\.\d{1,4})buildkitsandbox-\d"),
    _row(r"busybox", "busybox", rb"BusyBox\s{1,4}v" + _V),
    _row(r"getopt", "util-linux", rb"\0util-linux\s" + _V + rb"\0"),
    _row(r"haproxy", "haproxy",
         rb"version (\d{1,4}\.\d{1,4}(?:\.|-dev|-rc)\d{1,4})(?:-[a-z0-9]{7})?, released 20",
         rb"HA-Proxy version (\d{1,4}\.\d{1,4}(?:\.|-dev)\d{1,4})",
         rb"(\d{1,4}\.\d{1,4}(?:\.|-dev)\d{1,4})-[0-9a-zA-Z]{7}.{1,100}HAProxy version"),
    _row(r"perl", "perl", rb"/usr/local/lib/perl\d/" + _V),
    _row(r"composer.*", "composer",
         rb"'pretty_version'\s{0,8}=>\s{0,8}'(\d{1,4}\.\d{1,4}\.\d{1,4}(?:(?:beta|alpha|RC)\d{1,3})?)'"),
    _row(r"httpd", "httpd", rb"Apache/" + _V),
    _row(r"memcached", "memcached", rb"memcached\s" + _V),
    _row(r"traefik", "traefik", rb"\0v?(\d{1,4}\.\d{1,4}\.\d{1,4}(?:-(?:alpha|beta|rc)\d)?)\0"),
    _row(r"arangosh", "arangodb", rb"\0" + _V + rb"\s(?:enterprise\s)?\[linux\]"),
    _row(r"postgres", "postgresql", rb"[\0?]PostgreSQL " + _W),
    _row(r"mysql", "mysql", rb"\0" + _W + rb"\0{1,16}mysql", rb"/mysql-" + _W),
    _row(r"mysql", "percona-server", rb"/percona-server-" + _W),
    _row(r"mysql", "percona-xtradb-cluster", rb"/Percona-XtraDB-Cluster-" + _W),
    _row(r"xtrabackup", "percona-xtrabackup", rb"/percona-xtrabackup-" + _W),
    _row(r"mariadb|mysql", "mariadb", _W + rb"-MariaDB"),
    _row(r"libstd-.{16}\.so", "rust",
         rb"\0clang LLVM \(rustc version (\d{1,4}(?:\.\d{1,4}){1,2}) \(\w{1,40} "),
    _row(r"ruby|libruby\.so.*", "ruby", *_RUBY),
    _row(r"erlexec|beam\.smp|liberts_internal\.a", "erlang", *_ERLANG),
    _row(r"swipl", "swipl", rb"swipl-" + _V + rb"/"),
    _row(r"dart", "dart", rb"\0(\d{1,4}\.\d{1,4}\.\d{1,4}(?:-\d{1,6}(?:\.\d{1,4})?\.beta)?) "),
    _row(r"deno", "deno", rb"Deno/" + _V),
    _row(r"ghc.*", "haskell/ghc", rb"\0GHC " + _V + rb"\0"),
    _row(r"cabal", "haskell/cabal", rb"\0Cabal-(\d{1,4}(?:\.\d{1,4}){2,3})-"),
    _row(r"stack", "haskell/stack", rb"Version\s{0,8}" + _V + rb",\s{0,8}Git"),
    _row(r"consul", "github.com/hashicorp/consul", rb"CONSUL_VERSION: " + _V, rb"GitDescribe=" + _V + rb'"',
         kind="golang"),
    _row(r"vault", "github.com/hashicorp/vault", rb"revoke" + _V, kind="golang"),
    _row(r"nginx", "nginx",
         rb"[\0?]nginx version: [^/\0]{1,40}/(\d{1,4}\.\d{1,4}\.\d{1,4}(?:\+\d{1,6})?(?:-\d{1,6})?)"),
    _row(r"bash", "bash", rb"@\(#\)Bash version " + _V + rb"\(\d\) [a-z0-9]{1,20} GNU"),
    _row(r"openssl", "openssl",
         rb"\0OpenSSL (\d{1,4}\.\d{1,4}\.\d{1,4}(?:[a-z]{1,3}|-(?:alpha|beta|rc)\d)?)"),
    _row(r"gcc", "gcc", rb"GCC: \(GNU\) " + _V),
    _row(r"fluent-bit", "fluent/fluent-bit",
         rb"\0" + _V + rb"\0(?:\x1b\[1m\0|\0{1,2})?(?:%s)?Fluent", kind="github"),
    _row(r"wp", "wp-cli", rb"wp-cli/wp-cli " + _V),
    _row(r"curl", "curl", rb"curl/" + _V),
    _row(r"lighttpd", "lighttpd", rb"\0lighttpd/" + _V + rb"\0"),
    _row(r"proftpd", "proftpd", rb"\0ProFTPD Version (\d{1,4}\.\d{1,4}\.\d{1,4}[a-z]?)\0"),
    _row(r"zstd", "zstd", *_NUL),
    _row(r"xz", "xz", rb"\0xz \(XZ Utils\) " + _V + rb"\0"),
    _row(r"gzip", "gzip", rb"\0(\d{1,4}\.\d{1,4})\0"),
    _row(r"sqlcipher", "sqlcipher", rb"\D\0" + _V + rb"\0"),
    _row(r"jq", "jq", rb"\0(\d{1,3}\.\d{1,3}(?:\.\d{1,4})?)\0"),
    _row(r"chrome", "chrome", rb"\0(\d{1,4}(?:\.\d{1,6}){3})\0Default"),
    _row(r"php\d*", "php-cli", *_PHP),
    _row(r"php-fpm.*", "php-fpm", *_PHP),
    _row(r"libphp.*\.so", "php", *_PHP),
)  # fmt: skip
_NAMES = re.compile("|".join(f"(?:{row[0].pattern})" for row in _ROWS))


def wants(path: str) -> bool:
    """True for files that have the name of one of the programs."""
    return _NAMES.fullmatch(path, path.rfind("/") + 1) is not None


def read(path: str, image: Files) -> Iterator[Package]:
    """What a file is, if it says so."""
    name = path[path.rfind("/") + 1 :]
    e = image.stat(path)
    if e is None or not e.size or e.size > _MOST_BYTES or _is_told(path, image):
        return
    image.spend(path, e.size)
    for file, kind, full, patterns in _ROWS:
        if named := file.fullmatch(name):
            given = re.escape(named[1].encode()) if file.groups else b""
            if version := _version(path, image, [p.replace(b"{}", given) for p in patterns]):
                space, _, last = full.rpartition("/")
                yield Package(kind=kind, namespace=space, name=last, version=version, path=path)


def _is_told(path: str, image: Files) -> bool:
    bin_, _, name = path.rpartition("/")
    return name == "java" and image.exists(f"{posixpath.dirname(bin_)}/release")


def _version(path: str, image: Files, patterns: list[bytes]) -> str:
    """What the first pattern finds that finds anything; empty if none does."""
    wanted = [re.compile(pattern, re.DOTALL) for pattern in patterns]
    found: dict[int, str] = {}
    with image.open(path) as file:
        for piece in pieces(file, _SHARED_BYTES):
            for n, pattern in enumerate(wanted):
                if n not in found and (at := pattern.search(piece)):
                    found[n] = at[1].decode("utf-8", "replace")
            if 0 in found:
                break
    return found[min(found)] if found else ""
