"""Images made of images: other configs, layers, indexes and attachments; and what differs between two."""
