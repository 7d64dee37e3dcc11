package estate

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"
)

// This file reads the cells of an Excel file as a stream: what the import asks
// of a file (merged ranges, formulas without a value, numbers as they were typed)
// a library only tells after loading the whole sheet, which a hostile file makes
// as large as it likes.

// Limits of what is read.
const (
	// MaxImportFile is the largest file, in bytes.
	MaxImportFile = 16 << 20
	// MaxImportRows is how many rows with content all sheets have together.
	MaxImportRows = 50_000

	maxPart    = 96 << 20 // one part of the file, unpacked
	maxParts   = 5_000
	maxColumns = 100 // what stands further right is not read
	maxCell    = 300 // characters of a cell that are kept
	maxSheets  = 60
	maxMerges  = 100_000
	maxStrings = 2_000_000
)

// Codes of a FileError.
const (
	FileEmpty     = "empty"     // no bytes
	FileTooBig    = "too_big"   // more than MaxImportFile, or more when unpacked
	FileRows      = "rows"      // more than MaxImportRows
	FilePicture   = "picture"   // a photo or screenshot
	FilePDF       = "pdf"       //
	FileOldExcel  = "old_excel" // .xls
	FileEncrypted = "encrypted" // protected by a password
	FileBinary    = "xlsb"      // binary workbook
	FileText      = "text"      // CSV, HTML or other text, renamed or not
	FileOther     = "other"     // something else
	FileBroken    = "broken"    // looks like Excel and cannot be read
	FileNoHeader  = "no_header" // no row names the columns
	FileNoRows    = "no_rows"   // nothing below the row that names the columns
)

// FileError says that a whole file cannot be imported. Words for people are
// those of ImportWords.
type FileError struct{ Code string }

func (e *FileError) Error() string { return "estate: import file: " + e.Code }

// kindOfFile tells by the first bytes what cannot be an Excel file; "" when it
// may be one.
func kindOfFile(b []byte) string {
	for _, s := range []struct{ magic, code string }{
		{"\x89PNG", FilePicture}, {"\xff\xd8\xff", FilePicture}, {"GIF8", FilePicture}, {"BM", FilePicture}, {"II*\x00", FilePicture}, {"MM\x00*", FilePicture},
		{"%PDF", FilePDF}, {"Rar!", FileOther}, {"7z\xbc\xaf", FileOther},
	} {
		if bytes.HasPrefix(b, []byte(s.magic)) && (s.magic != "BM" || !utf8.Valid(b[:min(len(b), 512)])) {
			return s.code
		}
	}
	switch {
	case len(b) == 0:
		return FileEmpty
	case bytes.HasPrefix(b, []byte("RIFF")) && bytes.Contains(b[:min(len(b), 16)], []byte("WEBP")), bytes.Contains(b[:min(len(b), 16)], []byte("ftyphei")):
		return FilePicture
	case bytes.HasPrefix(b, []byte("\xd0\xcf\x11\xe0")):
		// An Excel file with a password is a container of the old kind, with a
		// stream of this name in UTF-16.
		if bytes.Contains(b, []byte("E\x00n\x00c\x00r\x00y\x00p\x00t\x00e\x00d\x00P\x00a\x00c\x00k\x00a\x00g\x00e\x00")) {
			return FileEncrypted
		}
		return FileOldExcel
	case bytes.HasPrefix(b, []byte("PK\x03\x04")):
		return ""
	}
	head := b[:min(len(b), 4096)]
	if !bytes.ContainsRune(head, 0) || bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff")) {
		return FileText
	}
	return FileOther
}

type cell struct {
	text    string
	number  bool // was a number, now written without exponent
	date    bool // Excel shows it as a date
	noValue bool // a formula that was never calculated
	fault   bool // #REF!, #N/A and their like
}

type row struct {
	n     int // as Excel counts
	cells []cell
}

func (r row) at(col int) cell {
	if col < 0 || col >= len(r.cells) {
		return cell{}
	}
	return r.cells[col]
}

type mergedRange struct{ fromCol, fromRow, toCol, toRow int } // columns from 0

type worksheet struct {
	name   string
	rows   []row // with content, ascending
	merges []mergedRange
}

type workbook struct {
	parts   map[string]*zip.File
	strings []string
	dates   []bool // by style
	left    int    // rows that may still come
}

// readWorkbook reads the visible sheets of an .xlsx file.
func readWorkbook(b []byte) ([]worksheet, error) {
	if code := kindOfFile(b); code != "" {
		return nil, &FileError{code}
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, &FileError{FileBroken}
	}
	if len(z.File) > maxParts {
		return nil, &FileError{FileTooBig}
	}
	w := &workbook{parts: map[string]*zip.File{}, left: MaxImportRows}
	for _, f := range z.File {
		w.parts[strings.ToLower(strings.TrimPrefix(strings.ReplaceAll(f.Name, `\`, "/"), "/"))] = f
	}
	switch {
	case w.parts["xl/workbook.bin"] != nil:
		return nil, &FileError{FileBinary}
	case w.parts["xl/workbook.xml"] == nil:
		return nil, &FileError{FileOther}
	}
	if err := w.readStyles(); err != nil {
		return nil, err
	}
	if err := w.readStrings(); err != nil {
		return nil, err
	}
	return w.readSheets()
}

// walk runs f over the elements of a part; a part that is missing has none.
func (w *workbook) walk(name string, f func(d *xml.Decoder, e xml.StartElement) error) error {
	part := w.parts[strings.ToLower(name)]
	if part == nil {
		return nil
	}
	if part.UncompressedSize64 > maxPart {
		return &FileError{FileTooBig}
	}
	r, err := part.Open()
	if err != nil {
		return &FileError{FileBroken}
	}
	defer r.Close()
	// The declared size may lie; the limit is on what comes.
	limited := &io.LimitedReader{R: r, N: maxPart}
	d := xml.NewDecoder(limited)
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return broken(limited)
		}
		e, ok := t.(xml.StartElement)
		if !ok {
			continue
		}
		if err := f(d, e); err != nil {
			var known *FileError
			if errors.As(err, &known) {
				return err
			}
			return broken(limited)
		}
	}
}

func broken(r *io.LimitedReader) error {
	if r.N <= 0 {
		return &FileError{FileTooBig}
	}
	return &FileError{FileBroken}
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// readStyles learns which styles show a number as a date: Excel makes a date of
// a room that is typed as 3-2, and 46083 must not become a room.
func (w *workbook) readStyles() error {
	custom := map[string]bool{}
	inXfs := false
	return w.walk("xl/styles.xml", func(_ *xml.Decoder, e xml.StartElement) error {
		switch e.Name.Local {
		case "numFmt":
			custom[attr(e, "numFmtId")] = dateFormat(attr(e, "formatCode"))
		case "cellStyleXfs", "dxfs", "cellStyles":
			inXfs = false
		case "cellXfs":
			inXfs = true
		case "xf":
			if !inXfs || len(w.dates) >= maxStrings {
				return nil
			}
			id := attr(e, "numFmtId")
			n, _ := strconv.Atoi(id)
			w.dates = append(w.dates, custom[id] || n >= 14 && n <= 22 || n >= 27 && n <= 36 || n >= 45 && n <= 47 || n >= 50 && n <= 58)
		}
		return nil
	})
}

// dateFormat tells whether a number format writes a date or a time: y, m, d or h
// outside of quotes and brackets.
func dateFormat(code string) bool {
	quoted, bracket := false, false
	for _, r := range strings.ToLower(code) {
		switch {
		case r == '"':
			quoted = !quoted
		case quoted:
		case r == '[':
			bracket = true
		case r == ']':
			bracket = false
		case bracket:
		case r == 'y', r == 'm', r == 'd', r == 'h':
			return true
		case r == ';':
			return false
		}
	}
	return false
}

func (w *workbook) readStrings() error {
	return w.walk("xl/sharedStrings.xml", func(d *xml.Decoder, e xml.StartElement) error {
		if e.Name.Local != "si" {
			return nil
		}
		if len(w.strings) >= maxStrings {
			return &FileError{FileTooBig}
		}
		s, err := readText(d, "si")
		w.strings = append(w.strings, s)
		return err
	})
}

// readText joins the t elements up to the end of the element that has begun,
// save those of phonetic runs.
func readText(d *xml.Decoder, end string) (string, error) {
	var b strings.Builder
	inText, phonetic := false, 0
	for {
		t, err := d.Token()
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.StartElement:
			switch t.Name.Local {
			case "t":
				inText = true
			case "rPh":
				phonetic++
			}
		case xml.CharData:
			if inText && phonetic == 0 && b.Len() < maxCell*4 {
				b.Write(t)
			}
		case xml.EndElement:
			switch t.Name.Local {
			case "t":
				inText = false
			case "rPh":
				phonetic--
			case end:
				return cutCell(b.String()), nil
			}
		}
	}
}

func cutCell(s string) string {
	if len(s) <= maxCell {
		return s
	}
	runes := []rune(s)
	return string(runes[:min(len(runes), maxCell)])
}

func (w *workbook) readSheets() ([]worksheet, error) {
	targets := map[string]string{}
	if err := w.walk("xl/_rels/workbook.xml.rels", func(_ *xml.Decoder, e xml.StartElement) error {
		if e.Name.Local == "Relationship" {
			target := attr(e, "Target")
			if rest, ok := strings.CutPrefix(target, "/"); ok {
				targets[attr(e, "Id")] = rest
			} else {
				targets[attr(e, "Id")] = path.Join("xl", target)
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	type entry struct{ name, part string }
	var list []entry
	if err := w.walk("xl/workbook.xml", func(_ *xml.Decoder, e xml.StartElement) error {
		if e.Name.Local == "sheet" && (attr(e, "state") == "" || attr(e, "state") == "visible") && len(list) < maxSheets {
			list = append(list, entry{attr(e, "name"), targets[attr(e, "id")]})
		}
		return nil
	}); err != nil {
		return nil, err
	}
	var out []worksheet
	for _, s := range list {
		if w.parts[strings.ToLower(s.part)] == nil {
			continue
		}
		sheet, err := w.readSheet(s.name, s.part)
		if err != nil {
			return nil, err
		}
		out = append(out, sheet)
	}
	if len(out) == 0 {
		return nil, &FileError{FileBroken}
	}
	return out, nil
}

func (w *workbook) readSheet(name, part string) (worksheet, error) {
	s := worksheet{name: name}
	rowNo, col := 0, -1
	var current row
	flush := func() error {
		for _, c := range current.cells {
			if c != (cell{}) {
				if w.left--; w.left < 0 {
					return &FileError{FileRows}
				}
				if n := len(s.rows); n > 0 && s.rows[n-1].n >= current.n {
					return &FileError{FileBroken} // rows must ascend, or merges and problems name the wrong one
				}
				s.rows = append(s.rows, current)
				break
			}
		}
		current = row{}
		return nil
	}
	err := w.walk(part, func(d *xml.Decoder, e xml.StartElement) error {
		switch e.Name.Local {
		case "row":
			if err := flush(); err != nil {
				return err
			}
			rowNo++
			if n, err := strconv.Atoi(attr(e, "r")); err == nil {
				rowNo = n
			}
			current, col = row{n: rowNo}, -1
		case "c":
			col++
			if c, _, ok := cellRef(attr(e, "r")); ok {
				col = c
			}
			c, err := w.readCell(d, e)
			if err != nil {
				return err
			}
			if col >= maxColumns || c == (cell{}) {
				return nil
			}
			for len(current.cells) <= col {
				current.cells = append(current.cells, cell{})
			}
			current.cells[col] = c
		case "mergeCell":
			from, to, _ := strings.Cut(attr(e, "ref"), ":")
			c1, r1, ok1 := cellRef(from)
			c2, r2, ok2 := cellRef(to)
			if !ok1 || !ok2 || c1 > c2 || r1 > r2 {
				return nil
			}
			if len(s.merges) >= maxMerges {
				return &FileError{FileTooBig}
			}
			s.merges = append(s.merges, mergedRange{c1, r1, min(c2, maxColumns-1), r2})
		}
		return nil
	})
	if err != nil {
		return worksheet{}, err
	}
	return s, flush()
}

// readCell reads one c element to its end.
func (w *workbook) readCell(d *xml.Decoder, e xml.StartElement) (cell, error) {
	kind := attr(e, "t")
	style, _ := strconv.Atoi(attr(e, "s"))
	var value strings.Builder
	formula, inValue, hasValue := false, false, false
	for {
		t, err := d.Token()
		if err != nil {
			return cell{}, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			switch t.Name.Local {
			case "f":
				formula = true
			case "v":
				inValue = true
			case "is":
				s, err := readText(d, "is")
				if err != nil {
					return cell{}, err
				}
				hasValue = s != ""
				value.WriteString(s)
				kind = "str"
			}
		case xml.CharData:
			if inValue && value.Len() < maxCell*4 {
				value.Write(t)
				hasValue = true
			}
		case xml.EndElement:
			switch t.Name.Local {
			case "v":
				inValue = false
			case "c":
				return w.cellOf(kind, value.String(), style, formula && !hasValue)
			}
		}
	}
}

func (w *workbook) cellOf(kind, value string, style int, noValue bool) (cell, error) {
	switch {
	case noValue:
		return cell{noValue: true}, nil
	case kind == "e":
		return cell{text: cutCell(value), fault: true}, nil
	case kind == "s":
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil || n < 0 || n >= len(w.strings) {
			return cell{}, fmt.Errorf("estate: no shared string %d", n)
		}
		return cell{text: strings.TrimSpace(w.strings[n])}, nil
	case kind == "" || kind == "n":
		text, ok := plainNumber(strings.TrimSpace(value))
		if !ok {
			return cell{text: cutCell(strings.TrimSpace(value))}, nil
		}
		return cell{text: text, number: true, date: style >= 0 && style < len(w.dates) && w.dates[style]}, nil
	case kind == "d":
		return cell{text: cutCell(value), date: true}, nil
	}
	return cell{text: cutCell(strings.TrimSpace(value))}, nil
}

// plainNumber writes a number cell as a person would: 1.3800000001E10 is
// 13800000001.
func plainNumber(s string) (string, bool) {
	if s == "" {
		return "", false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return "", false
	}
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return strconv.FormatInt(int64(f), 10), true
	}
	return strconv.FormatFloat(f, 'f', -1, 64), true
}

// cellRef reads B12 as column 1, row 12.
func cellRef(s string) (col, rowNo int, ok bool) {
	i := 0
	for i < len(s) && s[i] >= 'A' && s[i] <= 'Z' && i < 4 {
		col = col*26 + int(s[i]-'A') + 1
		i++
	}
	n, err := strconv.Atoi(s[i:])
	return col - 1, n, i > 0 && err == nil && n > 0
}

// columnName is the letters of a column, counted from 0.
func columnName(col int) string {
	s := ""
	for col++; col > 0; col = (col - 1) / 26 {
		s = string(rune('A'+(col-1)%26)) + s
	}
	return s
}
