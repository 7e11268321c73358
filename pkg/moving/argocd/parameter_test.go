package argocd

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/strvals"

	"strings"
)

// escaped is how Argo CD hands a value to helm --set: commas are escaped, except in
// a list.
func escaped(value string) string {
	if strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}") {
		return value
	}
	var b strings.Builder
	for i := range len(value) {
		if value[i] == ',' && (i == 0 || value[i-1] != '\\') {
			b.WriteByte('\\')
		}
		b.WriteByte(value[i])
	}
	return b.String()
}

// only says who alone takes the parameter: Helm takes odd names, of which nothing good
// comes, and cannot put a place below a text.
var parameters = map[string]struct{ name, value, only string }{
	"a name":                    {"a", "x", ""},
	"a place":                   {"a.b.c", "x", ""},
	"an escaped dot":            {`a.b\.c/d`, "x", ""},
	"an index":                  {"a[0].b", "x", ""},
	"an index of a list in it":  {"a[1][0]", "x", ""},
	"a number":                  {"a", "42", ""},
	"a number with zeros":       {"a", "007", ""},
	"zero":                      {"a", "0", ""},
	"a fraction":                {"a", "1.5", ""},
	"a negative number":         {"a", "-3", ""},
	"a truth value":             {"a", "true", ""},
	"an empty value":            {"a", "", ""},
	"null":                      {"a", "null", ""},
	"a list":                    {"a", "{x,2,true}", ""},
	"an empty list":             {"a", "{}", ""},
	"a list with an escape":     {"a", `{x\,y,z}`, ""},
	"commas":                    {"a", "x,y=z", ""},
	"an escaped comma":          {"a", `x\,y`, ""},
	"a backslash":               {"a", `C:\dir`, ""},
	"an equals sign":            {"a", "b=c", ""},
	"braces within":             {"a", "x{y}", ""},
	"a list of blanks":          {"a", "{ x , y }", ""},
	"a value over a map":        {"taken", "x", ""},
	"a place below a text":      {"text.a", "x", "set"},
	"an index of what is there": {"list[0].a", "x", ""},
	"an index beyond what is":   {"list[3]", "x", ""},
	"no name":                   {"", "x", "helm"},
	"an open bracket":           {"a[", "x", ""},
	"a negative index":          {"a[-1]", "x", ""},
	"text behind an index":      {"a[0]b", "x", ""},
	"a dot at the end":          {"a.", "x", "helm"},
	"a dot at the front":        {".a", "x", "helm"},
	"a key with blanks":         {"a b", "x", ""},
	"a key with a brace":        {"a{b", "x", "helm"},
	"a number that is a key":    {"a.0", "x", ""},
}

func before() map[string]any {
	return map[string]any{"taken": map[string]any{"a": "b"}, "text": "t", "list": []any{map[string]any{"b": "c"}}}
}

// Parameters become values as helm --set makes them.
func TestParametersAreThoseOfHelm(t *testing.T) {
	for name, tt := range parameters {
		t.Run(name, func(t *testing.T) {
			for asText, parse := range map[bool]func(string, map[string]any) error{false: strvals.ParseInto, true: strvals.ParseIntoString} {
				want, got := before(), before()
				refused := parse(tt.name+"="+escaped(tt.value), want)
				err := set(got, tt.name, tt.value, asText)
				if (err == nil) != (refused == nil) && (tt.only == "set") != (err == nil) {
					t.Fatalf("set: %v, Helm: %v", err, refused)
				}
				if diff := cmp.Diff(want, got); tt.only == "" && err == nil && diff != "" {
					t.Errorf("as text %v (-helm +set):\n%s", asText, diff)
				}
			}
		})
	}
}

func FuzzSet(f *testing.F) {
	for _, p := range parameters {
		f.Add(p.name, p.value)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		_ = set(map[string]any{}, name, value, false) // no panic
	})
}
