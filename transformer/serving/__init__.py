"""The translation server and its page."""
