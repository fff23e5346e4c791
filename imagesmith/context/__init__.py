"""Where a build's files come from: folders, repositories, URLs, streams; and which of them are taken."""
