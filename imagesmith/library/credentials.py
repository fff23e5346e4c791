"""Credentials as arguments: who a call says it is to registries, whatever files say.

Why: a service has its secrets from elsewhere, and must not leave them in anybody's home.
Trust: secrets are shown in no repr, no message and no event. They go to the registry that they are for, and
not to its mirrors; a child gets them by its pair of sockets (child.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from imagesmith.errors import UsageError
from imagesmith.library.several import several
from imagesmith.settings import Access
from imagesmith.settings import Login as Given
from imagesmith.transports.names import PlaceName
from imagesmith.values import field, frozen

__all__ = ["Credentials", "Insecure", "Login", "Logins", "Token", "access_by", "registries_of"]


@frozen
class Credentials:
    """A user name and a password, or what a registry takes for one.

    Example:
        >>> imagesmith.Credentials("ada", "secret")
        Credentials(username='ada')
    """

    username: str
    password: str = field(default="", shown=False)

    @property
    def login(self) -> Given:
        """The same as settings have it.

        Raises:
            UsageError: a name with a colon, which could not be sent.
        """
        if ":" in self.username:
            raise UsageError("a user name cannot hold a colon")
        return Given("basic", self.username, self.password)


@frozen
class Token:
    """A bearer token, sent as it is.

    Example:
        >>> imagesmith.Token("eyJhbGciOiJFUzI1NiJ9.e30.x")
        Token()
    """

    token: str = field(default="", shown=False)

    @property
    def login(self) -> Given:
        """The same as settings have it."""
        return Given("bearer", "", self.token)


Login = Credentials | Token
#: What calls take: for the registries that they name, or for each registry its own.
Logins = Login | Mapping[str, Login]
#: For which registries plain HTTP, or any certificate, is taken.
Insecure = bool | Iterable[str]


def registries_of(names: Iterable[str]) -> tuple[str, ...]:
    """The registries of some places' names, as docker names the Hub; of layouts and archives none."""
    places = [PlaceName.parse(name) for name in names if name]
    return tuple(dict.fromkeys(place.image.registry for place in places if place.image is not None))


def access_by(insecure: Insecure, credentials: Logins | None, registries: Iterable[str]) -> Access:
    """How registries are reached.

    Args:
        insecure: see Insecure.
        credentials: what a call was given; None for the user's files.
        registries: those that the call names, for which a single login is.

    Raises:
        UsageError: the credentials are none.
    """
    trusted = insecure if isinstance(insecure, bool) else frozenset(several(insecure))
    if credentials is None:
        return Access(insecure=trusted)
    if not isinstance(credentials, Mapping):
        credentials = dict.fromkeys(registries, credentials)
    for login in credentials.values():
        if not isinstance(login, Login):
            raise UsageError(f"credentials: Credentials or a Token are expected, not {type(login).__name__}")
    return Access(insecure=trusted, logins=tuple((host, login.login) for host, login in credentials.items()))
