"""The only room that knows an HTTP library: transports, retries, uploads, downloads."""
