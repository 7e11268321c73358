package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// reader walks the tokens of a JSON stream: encoding/json alone neither tells
// lines nor refuses duplicate keys.
type reader struct {
	p       *Parser
	file    string
	data    []byte
	decoder *json.Decoder
	seen    int // offset up to which lines are counted
	lines   int
	depth   int
	items   []int // lines of the top-level map's items
	path    []string
}

func (p *Parser) parseJSON(file string, data []byte) ([]object.Object, error) {
	if err := weigh(fault.Place{File: file}, data); err != nil {
		return nil, err
	}
	r := &reader{p: p, file: file, data: data, decoder: json.NewDecoder(bytes.NewReader(data))}
	r.decoder.UseNumber()
	var out []object.Object
	for {
		r.items = nil
		v, line, err := r.value()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, r.explain(err)
		}
		content, ok := v.(map[string]any)
		if !ok {
			return nil, refuse(fault.Place{File: file, Line: line}, "this is not a Kubernetes object: the document is not a map")
		}
		objects, err := p.flatten(file, value{content: content, line: line, items: r.items})
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
}

func (r *reader) explain(err error) error {
	var classified *fault.Error
	if errors.As(err, &classified) {
		return err
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return refuse(fault.Place{File: r.file, Line: r.line()}, "parse JSON: %w", err)
	}
	return refuse(fault.Place{File: r.file, Line: r.lineAt(len(r.data))}, "parse JSON: the file ends too early")
}

// token is the next token, and an early end of the file an error.
func (r *reader) token() (json.Token, error) {
	token, err := r.decoder.Token()
	if errors.Is(err, io.EOF) && r.depth > 0 {
		err = io.ErrUnexpectedEOF
	}
	return token, err
}

// line is where the token read last ends, or what cannot be read begins; tokens of
// JSON do not span lines.
func (r *reader) line() int { return r.lineAt(int(r.decoder.InputOffset())) }

func (r *reader) lineAt(offset int) int {
	offset = min(max(offset, 0), len(r.data))
	if offset < r.seen {
		return 1 + bytes.Count(r.data[:offset], []byte("\n"))
	}
	r.lines += bytes.Count(r.data[r.seen:offset], []byte("\n"))
	r.seen = offset
	return 1 + r.lines
}

func (r *reader) value() (any, int, error) {
	token, err := r.token()
	if err != nil {
		return nil, 0, err
	}
	line := r.line()
	if err := r.p.spend(fault.Place{File: r.file, Line: line}, r.depth); err != nil {
		return nil, 0, err
	}
	switch t := token.(type) {
	case json.Delim:
		r.depth++
		v, err := r.compound(t)
		r.depth--
		return v, line, err
	case json.Number:
		v, err := r.number(t, line)
		return v, line, err
	}
	return token, line, nil
}

func (r *reader) compound(open json.Delim) (any, error) {
	if open == '[' {
		return r.array()
	}
	out := map[string]any{}
	for r.decoder.More() {
		token, err := r.token()
		if err != nil {
			return nil, err
		}
		key := token.(string)
		if _, twice := out[key]; twice && !r.p.Lenient {
			return nil, refuse(fault.Place{File: r.file, Line: r.line()}, "the key %s stands twice in this map; remove one of the two", clip(key))
		}
		r.path = append(r.path, key)
		out[key], _, err = r.value()
		r.path = r.path[:len(r.path)-1]
		if err != nil {
			return nil, err
		}
	}
	_, err := r.token()
	return out, err
}

func (r *reader) array() (any, error) {
	items := len(r.path) == 1 && r.path[0] == "items" && r.depth == 2
	out := []any{}
	for r.decoder.More() {
		v, line, err := r.value()
		if err != nil {
			return nil, err
		}
		if items {
			r.items = append(r.items, line)
		}
		out = append(out, v)
	}
	_, err := r.token()
	return out, err
}

func (r *reader) number(n json.Number, line int) (any, error) {
	if i, err := n.Int64(); err == nil {
		return i, nil
	}
	f, err := strconv.ParseFloat(n.String(), 64)
	if err != nil {
		return nil, refuse(fault.Place{File: r.file, Line: line}, "the number does not fit 64 bits")
	}
	v, err := whole(f)
	if err != nil {
		return nil, refuse(fault.Place{File: r.file, Line: line}, "%w", err)
	}
	return v, nil
}
