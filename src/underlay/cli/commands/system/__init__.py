"""Commands on the installation itself, and on objects of any kind."""
