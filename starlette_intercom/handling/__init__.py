"""A delivery reaches its handlers: registry, arguments, processor, schedule, runners."""
