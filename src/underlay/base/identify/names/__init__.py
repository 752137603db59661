"""Names of bases: what the form of a tag says, names beside each other, names that root file systems and distributions have."""
