package generate_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/plumb-gitops/plumb/pkg/generate"
)

const parameters = `{"name": "Web App", "n": 3, "share": 1.5, "on": true, "off": false, "empty": "", "null": null,
	"labels": {"env": "prod", "b": "c"}, "list": ["x", "y"], "injection": "a\nsync: {prune: false}"}`

func TestTemplates(t *testing.T) {
	cases := map[string]struct{ text, want, fails string }{
		"no template":                  {text: "plain }}", want: "plain }}"},
		"a parameter":                  {text: "{{ .name }}!", want: "Web App!"},
		"a whole number":               {text: "{{ .n }}", want: "3"},
		"a fraction":                   {text: "{{ .share }}", want: "1.5"},
		"a nested parameter":           {text: "{{ .labels.env }}", want: "prod"},
		"a line break stays in a text": {text: "{{ .injection }}", want: "a\nsync: {prune: false}"},
		"lower":                        {text: "{{ .name | lower }}", want: "web app"},
		"upper":                        {text: "{{ upper .name }}", want: "WEB APP"},
		"trim of a text":               {text: `{{ trim " a " }}`, want: "a"},
		"trimPrefix":                   {text: `{{ .name | trimPrefix "Web " }}`, want: "App"},
		"trimSuffix":                   {text: `{{ .name | trimSuffix " App" }}`, want: "Web"},
		"replace":                      {text: `{{ .name | replace " " "-" }}`, want: "Web-App"},
		"normalize":                    {text: `{{ normalize "Übung_1.2/x--" }}`, want: "bung-1-2-x"},
		"normalize cuts at 63":         {text: `{{ normalize "` + strings.Repeat("a", 62) + `.b" }}`, want: strings.Repeat("a", 62)},
		"quote":                        {text: `{{ .injection | quote }}`, want: `"a\nsync: {prune: false}"`},
		"toJson":                       {text: `{{ .labels | toJson }}`, want: `{"b":"c","env":"prod"}`},
		"toJson escapes no HTML":       {text: `{{ "<&>" | toJson }}`, want: `"<&>"`},
		"trunc":                        {text: `{{ .name | trunc 3 }}`, want: "Web"},
		"trunc within a character":     {text: `{{ "aü" | trunc 2 }}`, want: "a"},
		"trunc beyond the end":         {text: `{{ .name | trunc 99 }}`, want: "Web App"},
		"split and join":               {text: `{{ split "-" "a-b-c" | join "." }}`, want: "a.b.c"},
		"index of a list":              {text: `{{ index .list 1 }}`, want: "y"},
		"index by a parameter":         {text: `{{ index (split "" "abcde") .n }}`, want: "d"},
		"index of a mapping":           {text: `{{ index .labels "env" }}`, want: "prod"},
		"keys are sorted":              {text: `{{ keys .labels | join "," }}`, want: "b,env"},
		"default of an empty value":    {text: `{{ .empty | default "x" }}`, want: "x"},
		"default of a value":           {text: `{{ .name | default "x" }}`, want: "Web App"},
		"get of what is there":         {text: `{{ get . "n" 7 }}`, want: "3"},
		"get of what is not":           {text: `{{ get . "missing" 7 }}`, want: "7"},
		"has":                          {text: `{{ if has .labels "env" }}yes{{ end }}`, want: "yes"},
		"contains, hasPrefix":          {text: `{{ contains "App" .name }} {{ hasPrefix "App" .name }} {{ hasSuffix "App" .name }}`, want: "true false true"},
		"printf":                       {text: `{{ printf "%s-%03d" .name .n }}`, want: "Web App-003"},
		"print":                        {text: `{{ print .name .n }}`, want: "Web App3"},
		"range":                        {text: `{{ range $i, $x := .list }}{{ $i }}{{ $x }}{{ end }}`, want: "0x1y"},
		"if and eq":                    {text: `{{ if eq .n 3 }}three{{ else }}other{{ end }}`, want: "three"},

		"a missing parameter":         {text: "{{ .missing }}", fails: `no entry for key "missing"`},
		"a missing nested parameter":  {text: "{{ .labels.missing }}", fails: `no entry for key "missing"`},
		"null is missing":             {text: "{{ .null }}", fails: `no entry for key "null"`},
		"a field of a text":           {text: "{{ .name.x }}", fails: "can't evaluate field x"},
		"index of a missing key":      {text: `{{ index .labels "x" }}`, fails: "no key x"},
		"index beyond the end":        {text: `{{ index .list 2 }}`, fails: "no element 2 in a list of 2"},
		"lower of a mapping":          {text: `{{ lower .labels }}`, fails: "a mapping; toJson"},
		"an unclosed action":          {text: "{{ .name", fails: "unclosed action"},
		"the environment":             {text: `{{ env "HOME" }}`, fails: `"env" not defined`},
		"the clock":                   {text: `{{ now }}`, fails: `"now" not defined`},
		"html is not there":           {text: `{{ .name | html }}`, fails: `"html" is not available`},
		"js is not there":             {text: `{{ if js .name }}{{ end }}`, fails: `"js" is not available`},
		"call is not there":           {text: `{{ with (call .name) }}{{ end }}`, fails: `"call" is not available`},
		"what counts is not there":    {text: `{{ __round }}`, fails: `"__round" is not available`},
		"define is not there":         {text: `{{ define "x" }}{{ end }}`, fails: "define, block and template"},
		"template is not there":       {text: `{{ if .on }}{{ template "x" }}{{ end }}`, fails: "define, block and template"},
		"an endless range":            {text: `{{ range 999999999999 }}{{ end }}`, fails: "more than 10000 steps"},
		"an endless nest of ranges":   {text: `{{ range 9999 }}{{ range 9999 }}{{ end }}{{ end }}`, fails: "more than 10000 steps"},
		"an endless else":             {text: `{{ range .empty }}{{ else }}{{ range 999999 }}{{ end }}{{ end }}`, fails: "range"},
		"endless output":              {text: `{{ range 9000 }}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{{ end }}`, fails: "writes more than"},
		"a text that doubles":         {text: `{{ $x := "aaaaaaaaaaaaaaaa" }}{{ range 99 }}{{ $x = print $x $x }}{{ end }}`, fails: "longer than"},
		"a text that is replaced big": {text: `{{ $x := "aaaaaaaaaaaaaaaa" }}{{ range 99 }}{{ $x = replace "a" $x $x }}{{ end }}`, fails: "longer than"},
		"a wide printf":               {text: `{{ printf "%0999999d" 1 }}`, fails: "printf takes"},
		"a printf with a star":        {text: `{{ printf "%*d" 999999 1 }}`, fails: "printf takes"},
		"a printf with an index":      {text: `{{ printf "%[1]s" "a" }}`, fails: "printf takes"},
		"a nil pointer of a function": {text: `{{ get .missing "x" "y" }}`, fails: "no entry for key"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := rendered(t.Context(), parameters, c.text)
			switch {
			case c.fails == "" && (err != nil || got != c.want):
				t.Errorf("%q, %v; want %q", got, err, c.want)
			case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
				t.Errorf("%q, %v; want an error that says %q", got, err, c.fails)
			}
		})
	}
}

// What each template may, all of a set may not.
func TestTheTemplatesOfASetAreBoundedTogether(t *testing.T) {
	cases := map[string]struct{ text, fails string }{
		"steps":  {`{{ range 9000 }}{{ end }}`, "templates of the set take more than"},
		"output": {`{{ range 600 }}` + strings.Repeat("a", 400) + `{{ end }}`, "templates of the set write more than"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			set := list("{}", c.text)
			g := set.Spec.Generators[0].List
			for i := range 300 {
				g.Elements = append(g.Elements, apiextensionsv1.JSON{Raw: []byte(fmt.Sprintf(`{"n": %d}`, i))})
			}
			_, err := generate.Expand(t.Context(), generate.Input{Set: set})
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("error %.300v", err)
			}
		})
	}
}

func TestTheContextEndsAnExpansion(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := rendered(ctx, parameters, "{{ range 9 }}{{ end }}"); err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("error %v", err)
	}
}

// Whatever a template is, it ends soon, within its bounds and without a panic.
func FuzzTemplates(f *testing.F) {
	for _, seed := range []string{"{{ .name }}", `{{ range .list }}{{ printf "%q" . }}{{ end }}`, `{{ with .labels }}{{ .env }}{{ else }}{{ end }}`,
		`{{ index .list .n }}`, `{{ $x := split "" .name }}{{ join "-" $x }}`, "{{ range 99999999 }}{{ end }}", "{{/* */}}{{ break }}",
		`{{ slice .name 1 2 }}{{ len .list | and .on | or .off }}`, `{{ (keys .labels) | toJson | quote | trunc 3 }}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		got, err := rendered(ctx, parameters, text)
		if ctx.Err() != nil {
			t.Fatalf("%q did not end", text)
		}
		if err == nil && len(got) > 256<<10 {
			t.Errorf("%q gives %d bytes", text, len(got))
		}
	})
}

// Any text as a file of parameters or a patch is refused or understood.
func FuzzDocuments(f *testing.F) {
	for _, seed := range []string{"a: 1", "- a: 1\n- b: 2", "{}", "---\na: 1\n---\nb: 2", "a: &x [1]\nb: *x", "a: 2024-01-01", "\x00", "spec: {sync: {prune: false}}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set := list("{}", "main")
		set.Spec.TemplatePatch = text
		_, _ = generate.Expand(t.Context(), generate.Input{Set: set})
	})
}
