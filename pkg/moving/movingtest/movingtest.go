// Package movingtest is the tests that every importer passes: golden files, that no
// field is dropped in silence, that the order of the input does not matter, and that
// nothing makes it panic. Only tests import it.
//
// It may import moving and the standard library. What does not hold fails the test.
package movingtest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/moving"
)

var update = flag.Bool("update", false, "write the golden files")

// Convert is an importer.
type Convert func([]map[string]any, moving.Options) moving.Result

// Case is a golden file: input.yaml, options.yaml, and what comes of them.
type Case struct {
	Name    string
	Objects []map[string]any
	Options moving.Options
	archive *txtar.Archive
}

// Cases are those of a directory.
func Cases(t testing.TB, dir string) []Case {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.txtar")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d golden files, want at least 12 (%v)", len(files), err)
	}
	var out []Case
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c := Case{Name: strings.TrimSuffix(filepath.Base(file), ".txtar"), archive: archive}
		if err := yaml.UnmarshalStrict(section(archive, "options.yaml"), &c.Options); err != nil {
			t.Fatal(err)
		}
		c.Objects = Documents(t, section(archive, "input.yaml"))
		out = append(out, c)
	}
	return out
}

func section(a *txtar.Archive, name string) []byte {
	for _, f := range a.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// Documents reads YAML documents.
func Documents(t testing.TB, text []byte) []map[string]any {
	t.Helper()
	var out []map[string]any
	for i, document := range bytes.Split(append([]byte("\n"), text...), []byte("\n---\n")) {
		object := map[string]any{}
		if err := yaml.UnmarshalStrict(document, &object); err != nil {
			t.Fatalf("document %d: %v", i, err)
		}
		if len(object) > 0 {
			out = append(out, object)
		}
	}
	return out
}

// Golden compares what is made, and what is told, with the golden files.
func Golden(t *testing.T, convert Convert) {
	for _, c := range Cases(t, "testdata") {
		t.Run(c.Name, func(t *testing.T) {
			r := convert(c.Objects, c.Options)
			for name, got := range map[string]string{"objects.yaml": print(t, r.Objects), "notes": notes(r)} {
				if diff := cmp.Diff(string(section(c.archive, name)), got); diff != "" && !*update {
					t.Errorf("%s (-want +got; -update writes it):\n%s", name, diff)
				}
				put(c.archive, name, got)
			}
			if *update {
				if err := os.WriteFile(filepath.Join("testdata", c.Name+".txtar"), txtar.Format(c.archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func put(a *txtar.Archive, name, text string) {
	at := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == name })
	if at < 0 {
		at = len(a.Files)
		a.Files = append(a.Files, txtar.File{Name: name})
	}
	a.Files[at].Data = []byte(text)
}

func print(t testing.TB, objects []map[string]any) string {
	var b strings.Builder
	for _, o := range objects {
		text, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("---\n")
		b.Write(text)
	}
	return b.String()
}

func notes(r moving.Result) string {
	var b strings.Builder
	for _, n := range r.Notes {
		fmt.Fprintln(&b, n)
	}
	return b.String()
}

// Complete takes each value out of each input, one after the other, and puts another
// in its place. It was dropped in silence when what is made and what is told stays as
// it was both times. What is told of an object as a whole holds for all of its fields.
func Complete(t *testing.T, convert Convert) {
	for _, c := range Cases(t, "testdata") {
		t.Run(c.Name, func(t *testing.T) {
			result := convert(c.Objects, c.Options)
			whole, told := print(t, result.Objects)+notes(result), named(result)
			for i, object := range c.Objects {
				if told[moving.Name(object)] || passedOver(convert, object) {
					continue
				}
				for _, leaf := range moving.Leaves(object) {
					if !told[moving.Name(object)+"\x00"+leaf] && !c.matters(t, convert, whole, i, leaf) {
						t.Errorf("%s: %s is neither converted nor told", moving.Name(object), leaf)
					}
				}
			}
		})
	}
}

// passedOver says whether an object is none of the tool's.
func passedOver(convert Convert, object map[string]any) bool {
	r := convert([]map[string]any{object}, moving.Options{})
	return len(r.Objects)+len(r.Notes) == 0
}

// matters says whether something else comes of it without a value, or with another.
func (c Case) matters(t *testing.T, convert Convert, whole string, object int, leaf string) bool {
	t.Helper()
	for _, edit := range []func(map[string]any, string){
		func(in map[string]any, name string) { delete(in, name) },
		func(in map[string]any, name string) { in[name] = "another" },
	} {
		objects := clone(t, c.Objects)
		if !change(objects[object], "", leaf, edit) {
			t.Fatalf("%s: there is no %s", moving.Name(objects[object]), leaf)
		}
		r := convert(objects, c.Options)
		if print(t, r.Objects)+notes(r) != whole {
			return true
		}
	}
	return false
}

// named are the fields that some note names, and the objects that are left out.
func named(r moving.Result) map[string]bool {
	out := map[string]bool{}
	for _, n := range r.Notes {
		for _, f := range n.Fields {
			out[n.Object+"\x00"+f] = true
		}
		if n.Level == moving.Failed || len(n.Fields) == 0 && strings.HasSuffix(n.Text, "left out") {
			out[n.Object] = true
		}
	}
	return out
}

func clone(t testing.TB, objects []map[string]any) []map[string]any {
	t.Helper()
	raw, err := json.Marshal(objects)
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// change edits the map that holds the value at a path; elements of lists are replaced.
func change(in any, path, leaf string, edit func(map[string]any, string)) bool {
	switch in := in.(type) {
	case map[string]any:
		for name, inner := range in {
			at := moving.Join(path, name)
			if at == leaf {
				edit(in, name)
				return true
			}
			if change(inner, at, leaf, edit) {
				return true
			}
		}
	case []any:
		for i, inner := range in {
			at := fmt.Sprintf("%s[%d]", path, i)
			if at == leaf {
				in[i] = "another"
				return true
			}
			if change(inner, at, leaf, edit) {
				return true
			}
		}
	}
	return false
}

// Discreet looks for the values of Secrets, which the inputs call canaries, in what is
// told, and in what is made when nobody asked for Secrets.
func Discreet(t *testing.T, convert Convert) {
	for _, c := range Cases(t, "testdata") {
		r := convert(c.Objects, c.Options)
		if strings.Contains(notes(r), "canary") {
			t.Errorf("%s: a note holds a value of a Secret", c.Name)
		}
		if text := print(t, r.Objects); !c.Options.Secrets && (strings.Contains(text, "canary") || strings.Contains(text, "\nkind: Secret")) {
			t.Errorf("%s: a Secret is made, and nobody asked for it", c.Name)
		}
	}
}

// AnyOrder gives the input backwards.
func AnyOrder(t *testing.T, convert Convert) {
	for _, c := range Cases(t, "testdata") {
		forward := convert(c.Objects, c.Options)
		slices.Reverse(c.Objects)
		if diff := cmp.Diff(print(t, forward.Objects)+notes(forward), print(t, convert(c.Objects, c.Options).Objects)+notes(convert(c.Objects, c.Options))); diff != "" {
			t.Errorf("%s: the order of the input changes what comes of it:\n%s", c.Name, diff)
		}
	}
}

// Fuzz gives anything; what comes of it can be printed.
func Fuzz(f *testing.F, convert Convert) {
	for _, c := range Cases(f, "testdata") {
		f.Add(section(c.archive, "input.yaml"))
		for _, o := range c.Objects {
			raw, err := yaml.Marshal(o)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var objects []map[string]any
		for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
			object := map[string]any{}
			if yaml.Unmarshal(document, &object) == nil {
				objects = append(objects, object)
			}
		}
		for _, o := range []moving.Options{{}, {Auto: true, Secrets: true, Namespace: "team", Repo: "https://example.com/a/b"}} {
			r := convert(objects, o)
			_, _ = print(t, r.Objects), notes(r)
		}
	})
}

// Made are the objects of all golden files of a directory, by a name that tells which.
func Made(t testing.TB, dir string, convert Convert) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	for _, c := range Cases(t, dir) {
		for _, o := range convert(c.Objects, c.Options).Objects {
			out[c.Name+": "+moving.Name(o)] = maps.Clone(o)
		}
	}
	return out
}
