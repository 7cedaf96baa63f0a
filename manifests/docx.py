"""A Word document of headings, paragraphs and tables, and nothing else, by the Office Open XML rules (ECMA-376).

Thirty lines of XML in place of a library, since the same content must give the same bytes: no clock is read, and the
entries of the archive carry the earliest date that a ZIP can have.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from manifests.printable import printable


@dataclass(frozen=True)
class Heading:
    """A heading of level 1 to 3."""

    text: str
    level: int = 1


@dataclass(frozen=True)
class Paragraph:
    """Running text; `marked` sets it off as something that a person must add."""

    text: str
    marked: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a head; a cell whose text is in `marked` is set off."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: frozenset[str] = frozenset()


Block = Heading | Paragraph | Table


def document(blocks: Sequence[Block]) -> bytes:
    """The bytes of a .docx file."""
    body = "".join(_block(block) for block in blocks)
    page = '<w:sectPr><w:pgSz w:w="11906" w:h="16838"/><w:pgMar w:top="1134" w:right="1134" w:bottom="1134" '
    page += 'w:left="1134" w:header="567" w:footer="567" w:gutter="0"/></w:sectPr>'
    files = {
        "[Content_Types].xml": f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{_WORD}.document.main+xml"/>'
        f'<Override PartName="/word/styles.xml" ContentType="{_WORD}.styles+xml"/></Types>',
        "_rels/.rels": f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{_OFFICE}/officeDocument" Target="word/document.xml"/></Relationships>',
        "word/_rels/document.xml.rels": f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships"><Relationship '
        f'Id="r1" Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>',
        "word/styles.xml": f'{_HEAD}<w:styles xmlns:w="{_MAIN}">{_STYLES}</w:styles>',
        "word/document.xml": f'{_HEAD}<w:document xmlns:w="{_MAIN}"><w:body>{body}{page}</w:body></w:document>',
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_MAIN = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml"
_STYLES = '<w:style w:type="paragraph" w:default="1" w:styleId="Normal"><w:name w:val="Normal"/><w:pPr><w:spacing '
_STYLES += 'w:after="120"/></w:pPr><w:rPr><w:rFonts w:ascii="Calibri" w:hAnsi="Calibri"/><w:sz w:val="21"/></w:rPr>'
_STYLES += "</w:style>" + "".join(
    f'<w:style w:type="paragraph" w:styleId="Heading{level}"><w:name w:val="heading {level}"/><w:basedOn '
    f'w:val="Normal"/><w:next w:val="Normal"/><w:pPr><w:keepNext/><w:spacing w:before="{before}" w:after="120"/>'
    f'<w:outlineLvl w:val="{level - 1}"/></w:pPr><w:rPr><w:b/><w:sz w:val="{size}"/></w:rPr></w:style>'
    for level, before, size in ((1, 360, 34), (2, 300, 28), (3, 220, 23))
)


def _block(block: Block) -> str:
    if isinstance(block, Heading):
        return f'<w:p><w:pPr><w:pStyle w:val="Heading{block.level}"/></w:pPr>{_run(block.text)}</w:p>'
    if isinstance(block, Paragraph):
        return f"<w:p>{_run(block.text, block.marked)}</w:p>"
    edges = "".join(
        f'<w:{side} w:val="single" w:sz="4" w:color="999999"/>'
        for side in ("top", "left", "bottom", "right", "insideH", "insideV")
    )
    rows = [_row(block.head, head=True)] + [_row(row, marked=block.marked) for row in block.rows]
    grid = "<w:gridCol/>" * len(block.head)
    return (
        f'<w:tbl><w:tblPr><w:tblW w:w="5000" w:type="pct"/><w:tblBorders>{edges}</w:tblBorders></w:tblPr>'
        f"<w:tblGrid>{grid}</w:tblGrid>{''.join(rows)}</w:tbl><w:p/>"
    )


def _row(cells: Sequence[str], head: bool = False, marked: frozenset[str] = frozenset()) -> str:
    inner = "".join(f"<w:tc><w:tcPr/><w:p>{_run(cell, cell in marked, bold=head)}</w:p></w:tc>" for cell in cells)
    return f"<w:tr>{'<w:trPr><w:tblHeader/></w:trPr>' if head else ''}{inner}</w:tr>"


def _run(text: str, marked: bool = False, bold: bool = False) -> str:
    style = ("<w:b/>" if bold else "") + ('<w:highlight w:val="yellow"/>' if marked else "")
    properties = f"<w:rPr>{style}</w:rPr>" if style else ""
    return f'<w:r>{properties}<w:t xml:space="preserve">{escape(printable(text))}</w:t></w:r>'
