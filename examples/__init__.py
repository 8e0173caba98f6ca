"""Applications that use aiowery: a web application, a Discord bot, a Telegram bot, and a provider of your own.

- `fastapi_app.py`: a web application with a page that shows progress (`fastapi_page.html`).
- `discord_bot.py`, `telegram_bot.py`: bots with an `/imagine` command. They share `imagine.py`.
- `fair_queue.py`: a queue in which a user with many requests does not delay the other users.
- `user_messages.py`: the texts that users see for progress and errors.
- `acme_provider.py`: a complete provider for another service.
- `prompts.txt`: prompts for `aiowery batch examples/prompts.txt`.
"""
