package render

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
)

// mask takes secrets out of an error and keeps what it means. Renderers mask what they
// know; this is for what they do not know to be secret.
func mask(err error, secrets []string) error {
	if len(secrets) == 0 {
		return err
	}
	m := masker{}
	for _, s := range secrets {
		m.values = append(m.values, forms(s)...)
	}
	var f *fault.Error
	if !errors.As(err, &f) {
		return m.error(err)
	}
	out := &fault.Error{Class: f.Class, Reason: f.Reason, After: f.After, Err: m.error(err)}
	if err == error(f) {
		out.Err = m.error(f.Err)
		out.Place = fault.Place{File: m.text(f.Place.File), Line: f.Place.Line, Object: m.text(f.Place.Object), Field: m.text(f.Place.Field)}
	}
	return out
}

type masker struct{ values []string }

// error returns err itself when it tells nothing, so that its chain stays.
func (m masker) error(err error) error {
	text := m.text(err.Error())
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}

// cuts are where a child has shortened a message, and what is left of a value there
// may be too short to be known.
var cuts = regexp.MustCompile(`(?s).{0,16}…\s*.{0,16}`)

func (m masker) text(s string) string {
	const long = 2000
	if strings.Contains(s, "…") || len(s) > long {
		s = cuts.ReplaceAllString(s+"…", "…")
	}
	return m.pieces(manifest.Mask(s, m.values))
}

// pieces masks what s has in common with a value for longer than by chance.
func (m masker) pieces(s string) string {
	const chance = 12
	at := map[string][]int{}
	for i := 0; i+chance <= len(s); i++ {
		at[s[i:i+chance]] = append(at[s[i:i+chance]], i)
	}
	hit := make([]bool, len(s)+1)
	for _, value := range m.values {
		for i := 0; i+chance <= len(value); i++ {
			piece := value[i : i+chance]
			for _, begin := range at[piece] {
				for j := range chance {
					hit[begin+j] = true
				}
			}
			delete(at, piece) // it is told
		}
	}
	var out strings.Builder
	for i := range len(s) {
		if !hit[i] {
			out.WriteByte(s[i])
		} else if !hit[i+1] {
			out.WriteString("[value]")
		}
	}
	return strings.ToValidUTF8(out.String(), "")
}

// forms are how a secret may stand in a message: as it is, by lines and what these
// assign, in Base64, escaped, and with its blanks collapsed.
func forms(s string) []string {
	out := manifest.Strings(s)
	if strings.Contains(s, "\n") {
		for line := range strings.Lines(s) {
			out = append(out, assigned(line)...)
		}
	}
	for _, form := range out {
		out = append(append(out, manifest.Forms(form)...), strings.Join(strings.Fields(form), " "))
	}
	return out
}

// assigned is what stands behind the first : or = of a line.
func assigned(line string) []string {
	at := strings.IndexAny(line, ":=")
	if at < 0 {
		return nil
	}
	value := strings.Trim(line[at+1:], " \t\r\n,;")
	out := []string{strings.Trim(value, `"'`)}
	if text, err := strconv.Unquote(value); err == nil {
		out = append(out, text)
	}
	return out
}
