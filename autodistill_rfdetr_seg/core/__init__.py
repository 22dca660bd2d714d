"""The vocabulary of the package: errors, the types that flow between stages, every option with its default, and pure
functions on masks. Knows nothing of files, images or models. Everything else imports it.
"""
