"""Run directories: what they hold on disk, and from there to a network."""
