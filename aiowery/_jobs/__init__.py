"""A job from its acceptance to its end: the handle, the poller and its scheduler."""
