"""Settings of every notebook server of the image."""

c = get_config()  # noqa: F821
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.open_browser = False
c.FileContentsManager.delete_to_trash = False
