"""The command lines, a file for each command."""
