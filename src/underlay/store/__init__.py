"""What is here: blobs, layers, images, names, and the root file systems made of them."""
