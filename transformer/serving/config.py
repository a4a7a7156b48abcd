"""Settings of the translation server: the only place with its defaults. They are no part of a run."""

from dataclasses import dataclass

from transformer.config.checks import require, require_positive


@dataclass(frozen=True)
class ServeConfig:
    """Where the server listens, and limits; what goes beyond them is refused with a reason."""

    host: str = "127.0.0.1"  # address to listen at; this one is reached from this machine alone
    port: int = 8000  # 0: any free one
    max_sentences: int = 64  # in a request
    max_characters: int = 1000  # of a sentence
    max_body: int = 2**20  # bytes of a request; more than the two limits above need even if all is escaped
    max_beam: int = 8  # largest beam_size of a request, and so the most hypotheses
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
