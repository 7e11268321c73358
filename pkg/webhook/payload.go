package webhook

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// ErrMediaType means that the body is of a kind the provider does not send.
var ErrMediaType = errors.New("content type is not one that this provider sends")

// payload is a body being read. The first failure stays; later checks then
// return zero values, so that a parser reads straight through.
type payload struct {
	header   http.Header
	body     []byte
	provider string
	id       string
	ignored  string
	err      error
}

func (p Provider) json(q Request) ([]byte, error) {
	kind := q.Header.Get("Content-Type")
	if kind == "application/json" { // as nearly all say
		return q.Body, nil
	}
	media, _, err := mime.ParseMediaType(kind)
	switch {
	case err != nil:
		return nil, ErrMediaType
	case media == "application/json", strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"):
		return q.Body, nil
	case p.form && media == "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(q.Body))
		if err != nil {
			return nil, fault.Refuse("", fault.Place{}, "payload is not a form")
		}
		return []byte(form.Get("payload")), nil
	}
	return nil, ErrMediaType
}

// maxValues bounds what a body becomes once it is decoded: an element of two
// bytes may turn into a struct of hundreds. The largest pushes that Git hosts
// send hold a third of it.
const maxValues = 250_000

// values counts the values of a JSON text, give or take the empty ones.
func values(text []byte) (n int) {
	inString := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case !inString && (c == ',' || c == '[' || c == '{'):
			n++
		}
	}
	return n
}

func (p *payload) fail(field, format string, args ...any) {
	if p.err == nil {
		p.err = fault.Refuse("", fault.Place{Field: field}, format, args...)
	}
}

func (p *payload) ignore(reason string) { p.ignored = reason }

func (p *payload) decode(into any) { p.decoded(json.Unmarshal(p.body, into)) }

// decoded tells a decoder's error without the values that it quotes.
func (p *payload) decoded(err error) {
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
	case errors.As(err, &wrong) && wrong.Field != "":
		p.fail(wrong.Field, "is %s, want %s", firstWord(wrong.Value), kindOf(wrong.Type))
	case errors.As(err, &wrong):
		p.fail("", "payload is %s, want %s", firstWord(wrong.Value), kindOf(wrong.Type))
	default:
		p.fail("", "payload is not JSON")
	}
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word
}

func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Slice:
		return "array"
	case reflect.Bool:
		return "bool"
	case reflect.Int, reflect.Int64:
		return "integer"
	}
	return "object"
}

// repo is the canonical name of the repository behind a URL of the payload.
func (p *payload) repo(field, rawURL string) string {
	if rawURL == "" {
		p.fail(field, "is missing")
		return ""
	}
	name, err := event.RepoName(rawURL)
	if err != nil {
		p.fail(field, "%w", err)
	}
	return name
}

// isSHA says whether value is from least to 64 hex digits in lower case.
func isSHA(value string, least int) bool {
	if len(value) < least || len(value) > 64 {
		return false
	}
	for i := range len(value) {
		if c := value[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// sha is a full commit SHA; all zeros, which stand for "no commit", become empty.
func (p *payload) sha(field, value string) string {
	switch {
	case value == "":
		p.fail(field, "is missing")
	case !isSHA(value, 40) || len(value) > 40 && len(value) < 64:
		p.fail(field, "is not a full commit SHA")
	case strings.Trim(value, "0") == "":
		return ""
	}
	return value
}

// headSHA may be shortened: Bitbucket Cloud sends twelve digits.
func (p *payload) headSHA(field, value string) string {
	if !isSHA(value, 7) {
		p.fail(field, "is not a commit SHA")
	}
	return value
}

const maxRef = 1024

// ref is a full ref name after the rules of git-check-ref-format(1).
func (p *payload) ref(field, value string) string {
	switch {
	case value == "":
		p.fail(field, "is missing")
	case !strings.HasPrefix(value, "refs/"):
		p.fail(field, "is not a full ref name, as in refs/heads/main")
	case len(value) > maxRef:
		p.fail(field, "is longer than %d bytes", maxRef)
	case !validRef(value):
		p.fail(field, "is not a ref name that Git allows")
	}
	return value
}

// branch is a ref without refs/heads/, as pull requests name it.
func (p *payload) branch(field, value string) string {
	if value == "" {
		p.fail(field, "is missing")
		return ""
	}
	return strings.TrimPrefix(p.ref(field, "refs/heads/"+value), "refs/heads/")
}

func validRef(ref string) bool {
	if !utf8.ValidString(ref) || strings.Contains(ref, "..") || strings.Contains(ref, "@{") || strings.HasSuffix(ref, ".") {
		return false
	}
	if strings.ContainsFunc(ref, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) }) {
		return false
	}
	for part := range strings.SplitSeq(ref, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

func (p *payload) number(field string, n int64) int64 {
	if n <= 0 {
		p.fail(field, "is missing or not positive")
	}
	return n
}

const maxPerson = 256

// person is a name for people to read: one line, bounded, never an error.
func person(names ...string) string {
	for _, name := range names {
		name = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return -1
			}
			return r
		}, strings.ToValidUTF8(name, ""))
		if len(name) > maxPerson {
			name = strings.ToValidUTF8(name[:maxPerson], "")
		}
		if name != "" {
			return name
		}
	}
	return ""
}

// word quotes a value from outside that a reason names.
func word(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most]
	}
	return `"` + person(s) + `"`
}
