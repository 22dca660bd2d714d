"""What surrounds the network of a model: the input made of images, and instances decoded from the output.

Every form of a model uses these files, in torch or exported. `export --bundle` copies them to run a model without this
package, so they import numpy, Pillow and each other alone.
"""
