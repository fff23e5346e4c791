"""Root file systems for RUN: layers stacked by overlayfs, or copied where nothing can be mounted."""
