"""What people read about commands: examples, and manual pages made from the tables of commands and flags."""
