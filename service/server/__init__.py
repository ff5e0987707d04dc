"""The server process: assembles the application, starts it and drains it."""
