"""The machine below the stages: files that are written whole or not at all, locks, folders, a run's places,
configuration files, versions, memory and downloads. Paths and options come in; files and facts about the machine go
out. Knows nothing of images. Called by every later folder.
"""
