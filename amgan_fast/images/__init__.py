"""Image files: which there are, what is in them, and how they are read, for training and for evaluation alike."""

from amgan_fast.images.class_names import in_class_order, is_number
from amgan_fast.images.decoding import (
    IMAGE_FORMATS,
    IMAGE_SUFFIXES,
    ImageHeader,
    open_image,
    read_header,
    read_many_headers,
    read_many_pixels,
    read_pixels,
    to_pixels,
)
from amgan_fast.images.headers import Headers, read_headers
from amgan_fast.images.image_files import ImageFiles, LazyImages, collect_images
from amgan_fast.images.image_items import ImageItems
from amgan_fast.images.listing import ImageListing, find_images
from amgan_fast.images.reading import FileReader, Reader, Unreadable, most_workers, workers_for

__all__ = [
    "IMAGE_FORMATS",
    "IMAGE_SUFFIXES",
    "FileReader",
    "Headers",
    "ImageFiles",
    "ImageHeader",
    "ImageItems",
    "ImageListing",
    "LazyImages",
    "Reader",
    "Unreadable",
    "collect_images",
    "find_images",
    "in_class_order",
    "is_number",
    "most_workers",
    "open_image",
    "read_header",
    "read_headers",
    "read_many_headers",
    "read_many_pixels",
    "read_pixels",
    "to_pixels",
    "workers_for",
]
