"""The training loop: steps, optimizer, schedules, validation, resume."""
