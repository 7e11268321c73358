package webhook

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v60/github"
)

func githubPushes(t testing.TB) (bodies [][]byte) {
	t.Helper()
	files, err := filepath.Glob("testdata/github/push*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no pushes", err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, body)
	}
	return bodies
}

// agrees holds for every text that readPush takes: it is JSON, and go-github, where it
// takes the text too, reads the same of it.
func agrees(t testing.TB, body []byte) (taken bool) {
	t.Helper()
	got, ok := readPush(body)
	if !ok {
		return false
	}
	if !json.Valid(body) {
		t.Fatalf("taken and not JSON: %q", body)
	}
	var e github.PushEvent
	if json.Unmarshal(body, &e) != nil {
		return true // something in it is odd that Plumb does not use
	}
	if diff := cmp.Diff(pushedAs(&e), got, cmp.AllowUnexported(pushed{})); diff != "" {
		t.Fatalf("%s\nof %q", diff, body)
	}
	return true
}

func TestPushesAreReadWithoutGoGitHub(t *testing.T) {
	for _, body := range githubPushes(t) {
		var compact bytes.Buffer
		if err := json.Compact(&compact, body); err != nil {
			t.Fatal(err)
		}
		if !agrees(t, body) || !agrees(t, compact.Bytes()) {
			t.Errorf("not read: %.80q", body)
		}
	}
}

func TestOfAnOddPushGoGitHubDecides(t *testing.T) {
	for what, c := range map[string]struct {
		body  string
		taken bool
	}{
		"nothing":                           {``, false},
		"an empty object":                   {`{}`, true},
		"null":                              {`null`, false},
		"an array":                          {`[]`, false},
		"two objects":                       {`{} {}`, false},
		"blanks all around":                 {" {\t\"ref\"\r:\n\"a\" } ", true},
		"a ref twice":                       {`{"ref": "a", "ref": "b"}`, true},
		"a repository twice":                {`{"repository": {"clone_url": "a"}, "repository": {}}`, true},
		"a ref that is null":                {`{"ref": null}`, false},
		"a ref that is an array":            {`{"ref": []}`, false},
		"a repository that is a string":     {`{"repository": "a"}`, false},
		"a key in capitals":                 {`{"ref": "a", "Ref": "b"}`, false},
		"a key with an escape":              {`{"ref": "a", "\u0072ef": "b"}`, false},
		"a key that folds to another":       {`{"pu\u017fher": {}, "puſher": {"name": "x"}}`, false},
		"a key in capitals, elsewhere":      {`{"ref": "a", "x": {"Ref": "b", "\u0072ef": [{"REF": 1}]}}`, true},
		"a ref with escapes":                {`{"ref": "a\n\u00e9\ud83d\ude00\/\\\""}`, true},
		"a ref with half of a pair":         {`{"ref": "\ud83d"}`, true},
		"a ref that is not UTF-8":           {"{\"ref\": \"a\xffb\"}", true},
		"a ref with a control character":    {"{\"ref\": \"a\nb\"}", false},
		"a string with a control character": {"{\"x\": \"0123456789\x1f\"}", false},
		"a string with a bad escape":        {`{"x": "\x"}`, false},
		"a string with a short escape":      {`{"x": "\u12"}`, false},
		"a string without an end":           {`{"x": "`, false},
		"a string that ends in a backslash": {`{"x": "\`, false},
		"a comma too many":                  {`{"x": 1,}`, false},
		"a comma too few":                   {`{"x": 1 "y": 2}`, false},
		"a comma first":                     {`{,}`, false},
		"a comma in an empty array":         {`{"x": [,]}`, false},
		"brackets crossed":                  {`{"x": [}]`, false},
		"no value":                          {`{"x"}`, false},
		"no key":                            {`{1: 2}`, false},
		"all kinds of values":               {`{"x": [true, false, null, 0, -1, 10, 1.5, 1e9, 1.25E-7, 2e+3, "", {}, []]}`, true},
		"a word cut short":                  {`{"x": tru}`, false},
		"a word too long":                   {`{"x": nulll}`, false},
		"a number with a leading zero":      {`{"x": 01}`, false},
		"a number with a plus":              {`{"x": +1}`, false},
		"a number without digits":           {`{"x": -}`, false},
		"a number that ends in a point":     {`{"x": 1.}`, false},
		"a number without an exponent":      {`{"x": 1e}`, false},
		"a number in hex":                   {`{"x": 0x1}`, false},
		"commits that are a number":         {`{"ref": "a", "commits": 7}`, true},
		"99 arrays":                         {`{"x": ` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `}`, true},
		"a hundred arrays":                  {`{"x": ` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, false},
	} {
		t.Run(what, func(t *testing.T) {
			if taken := agrees(t, []byte(c.body)); taken != c.taken {
				t.Errorf("taken: %v", taken)
			}
		})
	}
}

// Every third byte of a real push is left out, doubled and spoilt in turn.
func TestASpoiltPushIsReadAsGoGitHubDoesOrLeftToIt(t *testing.T) {
	var compact bytes.Buffer
	if err := json.Compact(&compact, githubPushes(t)[0]); err != nil {
		t.Fatal(err)
	}
	body := compact.Bytes()
	for i := 0; i < len(body); i += 3 {
		for _, middle := range []string{"", string(body[i]) + string(body[i]), "\x00", "\"", "\\", "{", "]", "A", "é"} {
			spoilt := string(body[:i]) + middle + string(body[i+1:])
			if _, ok := readPush([]byte(spoilt)); ok && !json.Valid([]byte(spoilt)) {
				t.Fatalf("byte %d as %q: taken and not JSON", i, middle)
			}
		}
	}
}

func FuzzReadPush(f *testing.F) {
	for _, body := range githubPushes(f) {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) { agrees(t, body) })
}

func BenchmarkReadPush(b *testing.B) {
	body := githubPushes(b)[0]
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := readPush(body); !ok {
			b.Fatal("not read")
		}
	}
}
