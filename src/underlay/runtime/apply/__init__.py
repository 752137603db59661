"""Operations of a plan applied to the kernel, in the process that becomes the container's program."""
