"""Files of containers: copied in and out, compared with the image, exported, made an image."""
