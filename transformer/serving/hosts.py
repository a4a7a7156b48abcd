"""Names of hosts that a server answers to."""

import re

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
ANY_HOST = "*"


def host_name(host: str) -> str:
    """Return the name or address in a Host header, without its port; an IPv6 address keeps its brackets."""
    return re.sub(r":\d*$", "", host).lower()


def allowed_host(name: str) -> str:
    """Return a host's name or address as a browser writes it in the Host header, or `ANY_HOST`; else a ValueError."""
    if name == ANY_HOST:
        return name
    host = f"[{name}]" if name.count(":") > 1 and not name.startswith("[") else name
    try:
        host = host_name(host if host.isascii() else host.encode("idna").decode("ascii"))
    except UnicodeError:
        host = ""
    if not re.fullmatch(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]", host):
        raise ValueError(
            f"--allow-host must be a host's name or address, such as translate.example.org, or '{ANY_HOST}' for any; "
            f"got {name!r}"
        )
    return host
