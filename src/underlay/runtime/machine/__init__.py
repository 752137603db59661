"""The driver `machine`: a container on a kernel of its own, in QEMU (docs/concepts/machines.md).

On the host a stand-in takes the place of the container's process: it runs QEMU, and passes streams, signals and the exit
code on. In the machine the agent starts the container with the same code that starts one on the host.
"""
