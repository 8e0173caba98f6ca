"""Images, videos and sounds that the sandbox generates, and uploaded files."""
