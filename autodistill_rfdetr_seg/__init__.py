"""Point it at a folder of unlabelled images and a few words; get a real-time instance-segmentation model, and proof."""
