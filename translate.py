"""Translate with a trained run: `python translate.py "Onde fica a estação?"`."""

from transformer.system.interrupts import quiet_start

if __name__ == "__main__":
    quiet_start()

from transformer.commands.translate import main
from transformer.system.process import leave

if __name__ == "__main__":
    leave(main())
