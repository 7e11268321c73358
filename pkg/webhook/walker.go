package webhook

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"
)

// walker goes through a JSON text (RFC 8259) once, front to back, and decodes only the
// strings that it is asked for: of the kilobytes of a push Plumb reads six. Every method
// reports whether the text is in order so far; what is not in order, or is not what the
// caller wants, is for encoding/json to tell.
type walker struct {
	text  []byte
	at    int
	depth int
}

// deepest bounds the nesting that a walker follows.
const deepest = 100

// document walks the whole text, which is one object; member must walk the value of the
// key that it is given.
func (w *walker) document(member func(key []byte) bool) bool {
	if !w.object(member) {
		return false
	}
	w.space()
	return w.at == len(w.text)
}

func (w *walker) object(member func(key []byte) bool) bool {
	return w.list('{', '}', func() bool {
		key, ok := w.string()
		w.space()
		return ok && w.take(':') && member(key)
	})
}

// list walks what stands between an opening and a closing bracket, parted by commas.
func (w *walker) list(opening, closing byte, item func() bool) bool {
	w.space()
	if w.depth++; w.depth > deepest || !w.take(opening) {
		return false
	}
	w.space()
	for first := true; !w.take(closing); first = false {
		if !first && !w.take(',') {
			return false
		}
		w.space()
		if !item() {
			return false
		}
		w.space()
	}
	w.depth--
	return true
}

// skip walks any value.
func (w *walker) skip() bool {
	w.space()
	if w.at == len(w.text) {
		return false
	}
	switch c := w.text[w.at]; c {
	case '"':
		_, ok := w.string()
		return ok
	case '{':
		return w.object(func([]byte) bool { return w.skip() })
	case '[':
		return w.list('[', ']', w.skip)
	case 't':
		return w.word("true")
	case 'f':
		return w.word("false")
	case 'n':
		return w.word("null")
	}
	return w.number()
}

// read walks a string and decodes it.
func (w *walker) read(into *string) bool {
	w.space()
	from := w.at
	text, ok := w.string()
	if !ok {
		return false
	}
	for _, c := range text {
		if c == '\\' || c >= 0x80 {
			return json.Unmarshal(w.text[from:w.at], into) == nil
		}
	}
	*into = string(text)
	return true
}

// string walks a string and returns what stands between its quotes, not decoded.
func (w *walker) string() ([]byte, bool) {
	if !w.take('"') {
		return nil, false
	}
	from := w.at
	for {
		w.at += plain(w.text[w.at:])
		if w.at == len(w.text) {
			return nil, false
		}
		switch w.text[w.at] {
		case '"':
			w.at++
			return w.text[from : w.at-1], true
		case '\\':
			if !w.escape() {
				return nil, false
			}
		default: // a control character
			return nil, false
		}
	}
}

func (w *walker) escape() bool {
	w.at++
	if w.at == len(w.text) {
		return false
	}
	c := w.text[w.at]
	w.at++
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			if w.at == len(w.text) || !hexadecimal(w.text[w.at]) {
				return false
			}
			w.at++
		}
		return true
	}
	return false
}

func hexadecimal(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// plain counts the bytes before the first quote, backslash or control character. It looks
// at eight at a time: x-1 borrows from the high bit of a byte only where the byte was zero,
// and never wrongly in the lowest such byte, the one that is asked for.
func plain(text []byte) int {
	const each, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; len(text)-i >= 8; i += 8 {
		x := binary.LittleEndian.Uint64(text[i:])
		quote, backslash := x^(each*'"'), x^(each*'\\')
		found := ((quote-each)&^quote | (backslash-each)&^backslash | (x-each*' ')&^x) & high
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(text) && text[i] >= ' ' && text[i] != '"' && text[i] != '\\'; i++ {
	}
	return i
}

func (w *walker) number() bool {
	w.take('-')
	if !w.take('0') && !w.digits() {
		return false
	}
	if w.take('.') && !w.digits() {
		return false
	}
	if w.take('e') || w.take('E') {
		_ = w.take('+') || w.take('-')
		return w.digits()
	}
	return true
}

func (w *walker) digits() bool {
	from := w.at
	for w.at < len(w.text) && w.text[w.at] >= '0' && w.text[w.at] <= '9' {
		w.at++
	}
	return w.at > from
}

func (w *walker) word(s string) bool {
	if len(w.text)-w.at < len(s) || string(w.text[w.at:w.at+len(s)]) != s {
		return false
	}
	w.at += len(s)
	return true
}

func (w *walker) take(c byte) bool {
	if w.at < len(w.text) && w.text[w.at] == c {
		w.at++
		return true
	}
	return false
}

func (w *walker) space() {
	for w.at < len(w.text) {
		switch w.text[w.at] {
		case ' ', '\n', '\t', '\r':
			w.at++
		default:
			return
		}
	}
}
