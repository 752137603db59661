"""What goes on behind a request's head: raw streams, large bodies, lines of progress."""
