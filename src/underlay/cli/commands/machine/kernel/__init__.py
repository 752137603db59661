"""Commands on the kernels of virtual machines."""
