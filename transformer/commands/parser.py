"""The parser of every command's flags."""

import argparse
import os
import sys
from typing import NoReturn

from transformer.commands import flag_hints
from transformer.system.messages import flush, say


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on stderr, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the message, with what to write instead of a flag that is unknown, and leave."""
        words = message.partition("unrecognized arguments: ")[2].split()
        flag = next((word.partition("=")[0] for word in words if word.startswith("-")), "")
        bare = [str(action.metavar) for action in self._actions if not action.option_strings]
        meant = flag_hints.meaning(flag, [*self._option_string_actions, *bare]) if flag else ""
        if words and not flag and "--train" in self._option_string_actions and os.path.isfile(words[0]):
            meant = f" Files are given with a flag: --train {words[0]}."
        say(f"error: {message}.{meant} See --help" if meant else f"error: {message}; see --help")
        self.exit(2)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Leave; a reader of the help that has left is no error."""
        if message:
            say(message)
        flush()
        sys.exit(status)
