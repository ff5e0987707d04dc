"""What production needs around the server; monitoring/ generates what follows from the table of metrics."""
