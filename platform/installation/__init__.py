"""What is installed: whether packages meet nmlab's requirements, and whether the build of torch fits this machine."""
