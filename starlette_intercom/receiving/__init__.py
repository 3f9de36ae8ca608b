"""A request becomes an accepted delivery: signature, guard, sub-application."""
