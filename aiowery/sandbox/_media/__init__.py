"""Pictures, videos and sounds that the sandbox draws, and the pages that show them."""
