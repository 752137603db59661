"""The store: blobs, layers, images, names, and the root file systems made of them."""
