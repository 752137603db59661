"""What lists and prunes are restricted to, in docker's words."""
