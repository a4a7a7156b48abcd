"""Settings of the server, which are no part of a run, and the hosts that it answers to."""

import re
from dataclasses import dataclass

from transformer.config.checks import require, require_positive

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
ANY_HOST = "*"


@dataclass(frozen=True)
class ServeConfig:
    """Where the server listens, and limits; what goes beyond them is refused with a reason."""

    host: str = "127.0.0.1"  # address to listen at; this one is reached from this machine alone
    port: int = 8000  # 0: any free one
    max_sentences: int = 64  # sentences or prompts in a request; also most texts that follow its prompts
    max_characters: int = 1000  # of a sentence or prompt
    max_body: int = 2**20  # bytes of a request; more than the two limits above need even if all is escaped
    max_beam: int = 8  # largest beam_size of a request, and so the most hypotheses
    max_tokens: int = 512  # of a text that follows a prompt
    max_attention: int = 500_000  # attention weights in an answer, some 7 bytes each
    max_requests: int = 256  # that are being answered at one time
    max_arriving: int = 256  # more, whose body is not complete; beyond them the oldest is refused
    max_chunks: int = 128  # pieces of a body that is sent in pieces (Transfer-Encoding: chunked)
    max_waiting: int = 1024  # sentences that wait to be translated
    max_together: int = 256  # sentences of several requests that are translated together
    timeout: float = 60.0  # seconds from the beginning of a request to its answer
    arrival_timeout: float = 10.0  # seconds in which a request has to arrive: its headers, and then its body

    def __post_init__(self) -> None:
        require(0 <= self.port < 65536, "port", "from 0 to 65535", self.port)
        require(1 <= self.max_beam <= 64, "max_beam", "from 1 to 64", self.max_beam)
        rule = f"at least max_sentences={self.max_sentences}, or a full request could never wait"
        require(self.max_waiting >= self.max_sentences, "max_waiting", rule, self.max_waiting)
        for name, value in vars(self).items():
            if name.startswith("max_"):
                require_positive(name, value)
            if name.endswith("timeout"):
                require(0 < value <= 3600, name, "above 0 and at most 3600", value)


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
