"""Applications on top of aiowery: a web application, a Discord bot, a Telegram bot. Read them, copy them."""
