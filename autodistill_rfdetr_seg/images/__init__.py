"""Image and video files. A path comes in; RGB pixels (HWC uint8, EXIF orientation applied), hashes, frames or a written
video go out. The only reader of images in the package. Called by everything that looks at pixels.
"""
