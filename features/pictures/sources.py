"""Pictures of a shop: where they lie (a folder or a zip archive), and how their bytes are opened safely."""

from __future__ import annotations

import os
import stat
import threading
import weakref
import zipfile
import zlib
from contextlib import suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from features.errors import InputError
from features.pictures.decoding import MAX_BYTES, UnreadableImage, decode

__all__ = ["MAX_BYTES", "FolderImages", "ImageSource", "UnreadableImage", "ZipImages", "decode", "inside"]

_LOCAL_HEADER = 30
_ENCRYPTED = 0x1


class ImageSource(Protocol):
    """Named pictures; safe to read from several threads at once."""

    def names(self) -> set[str]:
        """The names of all pictures, "/" between folders."""

    def read(self, name: str) -> bytes:
        """The bytes of one picture.

        Raises:
            KeyError: there is no such picture, or the name leaves the folder.
            UnreadableImage: it is larger than a picture may be, or broken.
        """

    def fingerprint(self) -> str:
        """Text that changes when a picture is added, removed or changed, found without reading the pictures."""


def inside(name: str) -> bool:
    """Whether a name stays within its folder: relative, and without "..", drive letters or NUL."""
    path = PurePosixPath(name.replace("\\", "/"))
    drive = len(name) > 1 and name[1] == ":" and name[0].isalpha()
    return bool(path.parts) and not (path.is_absolute() or ".." in path.parts or drive or "\0" in name)


class FolderImages:
    """Pictures as files in a folder and its sub-folders; links that lead out of it are not followed.

    Args:
        folder: the folder.
        max_bytes: larger files are refused before they are read.

    Raises:
        InputError: there is no such folder.
    """

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder} must be a folder of pictures, there is none")
        self._root = folder.resolve()
        self._max_bytes = max_bytes

    def names(self) -> set[str]:
        """The names of all files, relative to the folder."""
        return set(self._files)

    def read(self, name: str) -> bytes:
        """The bytes of one file.

        Raises:
            KeyError: there is no such file, or it lies outside the folder.
            UnreadableImage: the file is too large.
        """
        if not inside(name):
            raise KeyError(f"picture name {name!r} leaves its folder")
        path = (self._root / name).resolve()
        if not path.is_relative_to(self._root):
            raise KeyError(f"picture {name!r} is a link out of its folder")
        try:
            with os.fdopen(_open_plain(path), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > self._max_bytes:
                    raise UnreadableImage(f"has {size:,} bytes, at most {self._max_bytes:,} are taken")
                return file.read(self._max_bytes)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise KeyError(f"no picture {name!r}") from error
        except OSError as error:
            raise UnreadableImage(f"cannot be read: {error.strerror}") from error

    def fingerprint(self) -> str:
        """Names, sizes and modification times."""
        return "\n".join(f"{name}\0{size}\0{changed}" for name, (size, changed) in sorted(self._files.items()))

    @cached_property
    def _files(self) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        for folder, _, files in os.walk(self._root):
            for file in files:
                path = Path(folder) / file
                try:
                    about = path.stat()
                except OSError:
                    continue  # a link to nowhere: an item that names it is told that the file is missing
                if stat.S_ISREG(about.st_mode) and (not path.is_symlink() or path.resolve().is_relative_to(self._root)):
                    found[path.relative_to(self._root).as_posix()] = (about.st_size, about.st_mtime_ns)
        return found


def _open_plain(path: Path) -> int:
    """Open a regular file and nothing else (a pipe would wait forever); its descriptor."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(path)
    return descriptor


class ZipImages:
    """Pictures as members of a zip archive.

    Only the compressed bytes are read under a lock; they are unpacked outside it, never further than `max_bytes`, so a
    member that claims or hides more is refused and not unpacked. Members whose name leaves the archive's folder are
    not listed and cannot be read; `outside` names them.

    Args:
        path: the archive.
        max_bytes: larger members are refused.

    Raises:
        InputError: the file is missing or no zip archive.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES) -> None:
        try:
            self._file = path.open("rb")
            weakref.finalize(self, self._file.close)
            with zipfile.ZipFile(self._file) as archive:
                members = archive.infolist()
        except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise InputError(f"{path} must be a whole zip archive: {_why_no_zip(path, error)}") from error
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._members = {member.filename: member for member in members if not member.is_dir()}
        self.outside = tuple(name for name in self._members if not inside(name))
        for name in self.outside:
            del self._members[name]

    def names(self) -> set[str]:
        """The names of all members that lie inside."""
        return set(self._members)

    def read(self, name: str) -> bytes:
        """The unpacked bytes of one member.

        Raises:
            KeyError: there is no such member.
            UnreadableImage: it is too large, encrypted, packed in an unknown way, or damaged.
        """
        member = self._members.get(name)
        if member is None:
            raise KeyError(f"no picture {name!r} in the archive")
        if max(member.file_size, member.compress_size) > self._max_bytes:
            raise UnreadableImage(f"has {member.file_size:,} bytes, at most {self._max_bytes:,} are taken")
        if member.flag_bits & _ENCRYPTED:
            raise UnreadableImage("is encrypted")
        packed = self._packed(member)
        if member.compress_type == zipfile.ZIP_STORED:
            data = packed
        elif member.compress_type == zipfile.ZIP_DEFLATED:
            try:
                data = zlib.decompressobj(-15).decompress(packed, self._max_bytes + 1)
            except zlib.error as error:
                raise UnreadableImage(f"is damaged in the archive: {error}") from error
        else:
            raise UnreadableImage(f"is packed by method {member.compress_type}, only stored and deflated are read")
        if len(data) != member.file_size or zlib.crc32(data) != member.CRC:
            raise UnreadableImage("is damaged in the archive: its size or checksum is not what the archive says")
        return data

    def _packed(self, member: zipfile.ZipInfo) -> bytes:
        with self._lock:
            self._file.seek(member.header_offset)
            header = self._file.read(_LOCAL_HEADER)
            if len(header) < _LOCAL_HEADER or header[:4] != b"PK\3\4":
                raise UnreadableImage("is damaged in the archive: its header is missing")
            self._file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
            return self._file.read(member.compress_size)

    def fingerprint(self) -> str:
        """Names, sizes and checksums, as the archive's directory has them."""
        return "\n".join(f"{name}\0{about.file_size}\0{about.CRC}" for name, about in sorted(self._members.items()))


def _why_no_zip(path: Path, error: Exception) -> str:
    """What is wrong with it; the list of an archive's members stands at its end, which a broken copy lacks."""
    with suppress(OSError), path.open("rb") as file:
        if isinstance(error, zipfile.BadZipFile) and file.read(4) == b"PK\3\4":
            return f"it begins as one, and its end is missing after {path.stat().st_size:,} bytes; copy it again"
    return str(error)
