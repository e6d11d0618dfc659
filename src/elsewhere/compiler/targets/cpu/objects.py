"""Relocatable ELF objects for x86-64 put in memory and linked, without LLVM: what takes 40 MB is not loaded to run.

Sections that a run needs are laid one after another in anonymous memory, relocations are applied (System V ABI, AMD64
supplement, 4.4.1), functions of the C library are called through a table behind the code, and then the memory becomes
executable and no longer writable. Only the few relocations that the small code model gives are known; for everything
else `UnknownObjectError` says that LLVM's own loader has to do it.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct
import sys
from dataclasses import dataclass

SHF_ALLOC = 0x2
SHT_SYMTAB, SHT_RELA, SHT_NOBITS, SHT_UNWIND = 2, 4, 8, 0x70000001
R_64, R_PC32, R_GOTPCREL, R_PLT32, R_PC64, R_GOTPCRELX, R_REX_GOTPCRELX = 1, 2, 9, 4, 24, 41, 42
_FILE = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_EXTERNAL = ("memcpy", "memmove", "memset", "sched_yield")
"""What code may call outside itself."""
_STUB = 16
"""Bytes of `jmp *[rip + offset]`, rounded up."""


class UnknownObjectError(ValueError):
    """The object, or this system, is not one that this loader knows."""


def supported() -> bool:
    """Whether this system runs such objects."""
    return sys.platform == "linux" and platform.machine() == "x86_64" and sys.maxsize > 2**32


@dataclass(slots=True)
class _Section:
    name: int
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    place: int = -1
    """Offset in memory, if it is loaded."""


class Loaded:
    """An object in memory. `addresses` of its global functions are valid as long as this lives.

    Raises UnknownObjectError for what is no such object, OSError where memory may not become executable.
    """

    def __init__(self, code: bytes) -> None:
        if not supported():
            raise UnknownObjectError("objects are loaded on x86-64 Linux only")
        try:
            self._load(code)
        except UnknownObjectError:
            raise
        except (struct.error, LookupError, OverflowError, ValueError) as error:
            raise UnknownObjectError(f"the object is damaged: {error}") from error

    def _load(self, code: bytes) -> None:
        sections = _sections(code)
        size = 0
        for section in sections:
            if section.flags & SHF_ALLOC and section.kind != SHT_UNWIND and section.size:
                size = -(-size // section.alignment) * section.alignment
                section.place, size = size, size + section.size
        stubs = -(-size // _STUB) * _STUB
        table = stubs + _STUB * len(_EXTERNAL)
        symbols, names = _symbols(code, sections)
        found = sorted({name for name, defined in zip(names, symbols, strict=True) if defined is None})
        slots = {name: table + 8 * i for i, name in enumerate(dict.fromkeys((*_EXTERNAL, *found)))}
        own = {n: s for n, s in zip(names, symbols, strict=True) if n and s is not None}
        extra = {name: table + 8 * (len(slots) + i) for i, name in enumerate(own)}
        self._memory = mmap.mmap(-1, max(table + 8 * (len(slots) + len(extra)), 1))
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        for section in sections:
            if section.place >= 0 and section.kind != SHT_NOBITS:
                part = code[section.offset : section.offset + section.size]
                if len(part) != section.size:
                    raise UnknownObjectError("the object is cut off")
                self._memory[section.place : section.place + section.size] = part
        for number, name in enumerate(_EXTERNAL):
            jump = struct.pack("<BBi", 0xFF, 0x25, slots[name] - (stubs + _STUB * number + 6))
            self._memory[stubs + _STUB * number : stubs + _STUB * number + 6] = jump
        library = ctypes.CDLL(None)
        for name, slot in slots.items():
            if name in _EXTERNAL:
                address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
                struct.pack_into("<Q", self._memory, slot, address)
        for name, slot in extra.items():
            struct.pack_into("<Q", self._memory, slot, base + own[name])
        for section in sections:
            if section.kind == SHT_RELA and sections[section.info].place >= 0:
                target = sections[section.info]
                for offset, info, addend in _RELOCATION.iter_unpack(_part(code, section)):
                    number, kind = info >> 32, info & 0xFFFFFFFF
                    where = target.place + offset
                    if offset + (8 if kind in (R_64, R_PC64) else 4) > target.size:
                        raise UnknownObjectError("a relocation outside its section")
                    name, value = names[number], symbols[number]
                    if kind in (R_GOTPCREL, R_GOTPCRELX, R_REX_GOTPCRELX):
                        slot = slots[name] if value is None else extra[name]
                        self._put("<i", where, slot + addend - where)
                        continue
                    if value is None:
                        if name not in _EXTERNAL:
                            raise UnknownObjectError(f"the object wants {name!r}")
                        value = stubs + _STUB * _EXTERNAL.index(name)
                    if kind in (R_PC32, R_PLT32):
                        self._put("<i", where, value + addend - where)
                    elif kind == R_PC64:
                        self._put("<q", where, value + addend - where)
                    elif kind == R_64:
                        self._put("<Q", where, base + value + addend)
                    else:
                        raise UnknownObjectError(f"relocation {kind}")
        library.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        if library.mprotect(base, len(self._memory), mmap.PROT_READ | mmap.PROT_EXEC):
            raise OSError("memory may not become executable here")
        self.addresses = {name: base + value for name, value in own.items()}

    def _put(self, form: str, where: int, value: int) -> None:
        try:
            struct.pack_into(form, self._memory, where, value)
        except struct.error as error:
            raise UnknownObjectError(f"a relocation does not fit: {error}") from error


def _part(code: bytes, section: _Section) -> bytes:
    part = code[section.offset : section.offset + section.size]
    if len(part) != section.size:
        raise UnknownObjectError("the object is cut off")
    return part


def _sections(code: bytes) -> list[_Section]:
    head = _FILE.unpack_from(code)
    ident, kind, machine, start, each, count = head[0], head[1], head[2], head[6], head[11], head[12]
    # 64 bits, little-endian, relocatable, x86-64
    if ident[:6] != b"\x7fELF\x02\x01" or (kind, machine, each) != (1, 62, _SECTION.size):
        raise UnknownObjectError("no relocatable object for x86-64")
    sections = []
    for number in range(count):
        name, kind, flags, _, offset, size, link, info, alignment, _ = _SECTION.unpack_from(code, start + each * number)
        if kind != SHT_NOBITS and offset + size > len(code):
            raise UnknownObjectError("the object is cut off")
        if alignment > mmap.PAGESIZE or alignment & (alignment - 1) or size > 2**26:
            raise UnknownObjectError("a section of unknown form")
        sections.append(_Section(name, kind, flags, offset, size, link, info, max(alignment, 1)))
    return sections


def _symbols(code: bytes, sections: list[_Section]) -> tuple[list[int | None], list[str]]:
    """Offsets in memory (None: outside the object) and names, by number."""
    tables = [s for s in sections if s.kind == SHT_SYMTAB]
    if len(tables) != 1:
        raise UnknownObjectError("no table of symbols, or several")
    strings = _part(code, sections[tables[0].link])
    places: list[int | None] = []
    names = []
    for at, info, _, where, value, _ in _SYMBOL.iter_unpack(_part(code, tables[0])):
        name = strings[at : strings.index(b"\0", at)].decode("ascii", "replace") if at else ""
        inside = 0 < where < len(sections) and sections[where].place >= 0
        places.append(sections[where].place + value if inside else None if where == 0 else 0)
        # Sections have no name of their own; relocations mean them by number.
        names.append(name if info & 15 != 3 else "")
    return places, names
