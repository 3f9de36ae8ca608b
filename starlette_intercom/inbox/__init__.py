"""The record of deliveries: what was accepted and what became of it."""
