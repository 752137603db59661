"""Processes of a container made: cloned, told what they are to do, joined, reaped."""
