"""A trained model at work: any format opened, images and videos in, poses out."""
