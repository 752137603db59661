"""tmp"""

from ..errors import Unsupported


def transfer(stage, instruction):
    raise Unsupported("COPY")


def make_directory(stage, vertex, path):
    raise Unsupported("WORKDIR")
