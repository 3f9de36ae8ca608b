"""The servers that are compared: what one would write by hand, and this library."""
