"""Image and video files. A path comes in; RGB pixels (HWC uint8, EXIF orientation applied), hashes, frames or a written
video go out. `image_discovery` finds files, `image_header` reads their sizes, `image_opening` opens them: the only
reader of images in the package. Called by everything that uses pixels.
"""
