"""Names of bases: what the form of a tag says, names beside each other, those of root file systems and distributions."""
