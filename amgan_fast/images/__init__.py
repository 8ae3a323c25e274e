"""Image files: which there are, what is in them, and how they are read, for training and for evaluation alike."""

from amgan_fast.images.decoding import IMAGE_FORMATS, IMAGE_SUFFIXES, ImageHeader, read_header, read_pixels
from amgan_fast.images.headers import Headers, read_headers
from amgan_fast.images.image_files import ImageFiles
from amgan_fast.images.listing import ImageListing, find_images
from amgan_fast.images.reading import FileReader, Progress, Unreadable

__all__ = [
    "IMAGE_FORMATS",
    "IMAGE_SUFFIXES",
    "FileReader",
    "Headers",
    "ImageFiles",
    "ImageHeader",
    "ImageListing",
    "Progress",
    "Unreadable",
    "find_images",
    "read_header",
    "read_headers",
    "read_pixels",
]
