"""How fast notifications are received, side by side with what one would write by hand."""
