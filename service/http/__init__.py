"""HTTP: the routes, the short way, bodies and error answers."""
