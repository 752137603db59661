"""Where a build's files come from: directories, archives, Git, ignore files."""
