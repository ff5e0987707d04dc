"""What is told of requests besides their answers: the access log, their times, and traces."""
