"""Looking into images: their files, what each layer changed, and what that costs."""
