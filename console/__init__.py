"""The console: the page at `/` of a server. Its sources are here; their build is in service/http/console."""
