"""Use cases behind the public Python interface, a room for each kind of object."""
