"""A disk that loses its power: what it may hold then, of changes that recorder.cpp wrote down.

Only what was synced is sure. Of the rest, any part may have reached the disk, in any order:

- A file's bytes since its last fsync: each sector of each write, and each change of its size, by itself.
- The entries of a folder since its last fsync: each new name, removal and rename by itself, but a rename
  whole or not at all, and the changes of one name in their order. An fsync of a file does not keep its name.

So the disk is stricter than a journal, which keeps changes of names in order, and stricter than SQLite and
the store may count on: what is safe here is safe on ext4, XFS and Btrfs.
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
CHANCES = (
    0.0,
    0.5,
    1.0,
    0.9,
    0.1,
)  # that a change which was not synced reached the disk, at one loss of power


@dataclass(eq=False)
class File:
    """Its bytes on the disk, and the changes since its last fsync: bytes from an offset, or a new size."""

    kept: bytearray = field(default_factory=bytearray)
    waiting: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for offset, data in self.waiting:
            _apply(self.kept, offset, data)
        self.waiting.clear()

    def after_loss(self, chance: random.Random, likely: float) -> bytes:
        if not self.waiting:
            return bytes(self.kept)
        found = bytearray(self.kept)
        for offset, data in self.waiting:
            if data is None:
                if chance.random() < likely:
                    _apply(found, offset, None)
                continue
            for start, sector in _sectors(offset, data):
                if chance.random() < likely:
                    _apply(found, start, sector)
        return bytes(found)

    def whole(self) -> bytes:
        found = bytearray(self.kept)
        for offset, data in self.waiting:
            _apply(found, offset, data)
        return bytes(found)


@dataclass(eq=False)
class Folder:
    """Its entries on the disk."""

    kept: "dict[str, File | Folder]" = field(default_factory=dict)


Entries = dict[tuple[Folder, str], "File | Folder | None"]
"""What names stand for; None: the name is gone."""


@dataclass
class Record:
    """One line of the record, and the bytes of a write."""

    kind: str
    fields: list[str]
    data: bytes = b""


def records(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        for line in file:
            kind, *fields = line.decode().rstrip("\n").split(" ")
            yield Record(kind, fields, file.read(int(fields[2])) if kind == "W" else b"")


class Disk:
    """Takes the changes in their order; `after_loss` says what there may be if the power goes now."""

    def __init__(self, root: Path) -> None:
        """What is below `root` now is on the disk."""
        self.root = Folder()
        self._by_inode: dict[str, File | Folder] = {}
        self._now: dict[Folder, dict[str, File | Folder]] = {}  # as processes see it
        self._waiting: list[Entries] = []  # changes of names since the last fsync of their folders
        self._take_in(root, self.root)

    def _take_in(self, path: Path, folder: Folder) -> None:
        self._by_inode[str(path.stat().st_ino)] = folder
        for below in path.iterdir():
            node = Folder() if below.is_dir() else File(bytearray(below.read_bytes()))
            self._by_inode[str(below.stat().st_ino)] = folder.kept[below.name] = node
            if isinstance(node, Folder):
                self._take_in(below, node)
        self._now[folder] = dict(folder.kept)

    def change(self, record: Record) -> None:
        match record.kind, record.fields:
            case ("C" | "D", [folder, inode, *words]):
                self._name(record.kind, folder, inode, " ".join(words))
            case "U", [folder, *words]:
                self._entries({(self._folder(folder), " ".join(words)): None})
            case "R", [folder, name, to, new]:
                source, target = self._folder(folder), self._folder(to)
                node = self._now[source][name]
                self._entries({(source, name): None, (target, new): node})
            case "W", [inode, offset, _]:
                self._file(inode).waiting.append((int(offset), record.data))
            case "T", [inode, size]:
                self._file(inode).waiting.append((int(size), None))
            case "S", [inode]:
                node = self._by_inode[inode]
                node.sync() if isinstance(node, File) else self._sync(node)
            case _:
                raise ValueError(f"a record of no known kind: {record.kind} {record.fields}")

    def _name(self, kind: str, folder: str, inode: str, name: str) -> None:
        node = self._by_inode.get(inode)
        linked = any(node is found for entries in self._now.values() for found in entries.values())
        if node is None or not linked:  # not a second name of a file: the inode is free again, or new
            node = self._by_inode[inode] = File() if kind == "C" else Folder()
            if isinstance(node, Folder):
                self._now[node] = {}
        self._entries({(self._folder(folder), name): node})

    def _entries(self, change: Entries) -> None:
        for (folder, name), node in change.items():
            if node is None:
                self._now[folder].pop(name, None)
            else:
                self._now[folder][name] = node
        self._waiting.append(change)

    def _folder(self, inode: str) -> Folder:
        found = self._by_inode[inode]
        assert isinstance(found, Folder)
        return found

    def _file(self, inode: str) -> File:
        found = self._by_inode[inode]
        assert isinstance(found, File)
        return found

    def _sync(self, folder: Folder) -> None:
        """What waits for this folder reaches the disk, with what came before it of the same names."""
        wanted = [any(where is folder for where, _ in change) for change in self._waiting]
        names: set[tuple[Folder, str]] = set()
        for number in reversed(range(len(wanted))):
            if wanted[number] or names & self._waiting[number].keys():
                wanted[number] = True
                names |= self._waiting[number].keys()
        for change, goes in zip(self._waiting, wanted, strict=True):
            if goes:
                _keep({}, change, into_disk=True)
        self._waiting = [change for change, goes in zip(self._waiting, wanted, strict=True) if not goes]

    def after_loss(self, chance: random.Random, to: Path) -> None:
        """Write what there may be to the empty folder `to`."""
        names, data = chance.choice(CHANCES), chance.choice(CHANCES)
        found: dict[Folder, dict[str, File | Folder]] = {}
        lost: set[tuple[Folder, str]] = set()
        for change in self._waiting:
            if lost & change.keys() or chance.random() >= names:
                lost |= change.keys()
            else:
                _keep(found, change)
        _write(self.root, found, to, lambda file: file.after_loss(chance, data))

    def as_seen(self, to: Path) -> None:
        """Write what processes see to the empty folder `to`: all changes, synced or not."""
        _write(self.root, self._now, to, File.whole)

    def read(self, name: str) -> bytes:
        """What processes see in a file of the root; empty if there is none."""
        found = self._now[self.root].get(name)
        return found.whole() if isinstance(found, File) else b""


def _keep(found: dict[Folder, dict[str, File | Folder]], change: Entries, *, into_disk: bool = False) -> None:
    for (folder, name), node in change.items():
        entries = folder.kept if into_disk else found.setdefault(folder, dict(folder.kept))
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


def _write(folder: Folder, found: dict[Folder, dict[str, File | Folder]], to: Path, content: object) -> None:
    for name, node in found.get(folder, folder.kept).items():
        if isinstance(node, Folder):
            (to / name).mkdir()
            _write(node, found, to / name, content)
            continue
        data = content(node)  # type: ignore[operator]
        with (to / name).open("wb") as file:
            if data.count(0) == len(data):  # the store's reserve: megabytes of nothing
                os.ftruncate(file.fileno(), len(data))
            else:
                file.write(data)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


def _sectors(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start < len(data):
        end = min(len(data), start + SECTOR - (offset + start) % SECTOR)
        yield offset + start, data[start:end]
        start = end
