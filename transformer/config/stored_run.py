"""The config of a run directory."""

from pathlib import Path

from transformer.config.run import Config
from transformer.system.errors import UserError, nearest
from transformer.system.files import read_inside
from transformer.system.messages import called

EXPORT = "export.json"  # the file that marks a directory as an export of a run, see convert/directory.py


def _runs_in(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/config.json"))


def _instead_of(run: Path) -> str:
    """Return how to go on where a run directory is missing: what is there, or where it was looked for."""
    if run.exists():
        return ": it is a file; name the directory of a run"
    where = "" if run.is_absolute() else f" in {Path.cwd()}"
    other = nearest(run.name, _runs_in(run.parent))
    return f"{where}; train it with {called('train')} or name another one.{other}".rstrip(".")


def stored_config(run: str | Path) -> Config:
    """Read the config of a run directory; a UserError tells that there is no run, or that its config is damaged."""
    path = Path(run) / "config.json"
    try:
        if not path.parent.is_dir():
            raise UserError(f"there is no run directory {run}{_instead_of(path.parent)}")
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise UserError(f"cannot read run directory {run}: {error.strerror}; name another one") from None
    try:
        return Config.from_json(read_inside(run, path.name).decode(), str(path))
    except OSError:
        inside = ", ".join(str(path.parent / name) for name in _runs_in(path.parent)[:5])
        way_out = f"name one of the runs in it: {inside}" if inside else "restore it or train the run again"
        raise UserError(f"run directory {run} is incomplete: no config.json; {way_out}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is damaged; restore it or train the run again") from None
