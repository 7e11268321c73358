package health_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// One file in testdata is one case: an object as the API server returns it, and
// its health; the message may be the beginning only.
func TestOf(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			u, status, message := load(t, file)
			got := health.Of(u)
			if got.Status.String() != status || !strings.HasPrefix(got.Message, message) {
				t.Errorf("got %s %q, want %s %q", got.Status, got.Message, status, message)
			}
			if again := health.Of(u); again != got {
				t.Errorf("judged again: %v", again)
			}
		})
	}
}

func load(t *testing.T, file string) (u *unstructured.Unstructured, status, message string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Want struct{ Status, Message string }
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	whole := parse(t, string(text))
	content, found, err := unstructured.NestedMap(whole, "object")
	if !found || err != nil {
		t.Fatalf("no object in %s: %v", file, err)
	}
	return &unstructured.Unstructured{Object: content}, c.Want.Status, c.Want.Message
}

// parse decodes as the API client does: whole numbers are int64.
func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	b, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var list unstructured.Unstructured
	wrapped := append([]byte(`{"apiVersion":"v1","kind":"Case","content":`), append(b, '}')...)
	if err := list.UnmarshalJSON(wrapped); err != nil {
		t.Fatal(err)
	}
	return list.Object["content"].(map[string]any)
}

func TestAnAbsentObjectIsMissing(t *testing.T) {
	if got := health.Of(nil); got.Status != health.Missing {
		t.Errorf("got %v", got)
	}
}

func id(name string) object.ID { return object.ID{Kind: "ConfigMap", Namespace: "web", Name: name} }

func TestWorst(t *testing.T) {
	tests := map[string]struct {
		reports map[object.ID]health.Report
		want    health.Summary
		line    string
	}{
		"nothing is unknown": {want: health.Summary{}, line: "0 of 0 objects healthy"},
		"all healthy names no object": {
			reports: map[object.ID]health.Report{id("a"): {Status: health.Healthy, Message: "fine"}, id("b"): {Status: health.Healthy}},
			want:    health.Summary{Status: health.Healthy, Total: 2, Healthy: 2},
			line:    "2 of 2 objects healthy",
		},
		"degraded is worse than missing": {
			reports: map[object.ID]health.Report{id("a"): {Status: health.Missing}, id("b"): {Status: health.Degraded, Message: "broken"}, id("c"): {Status: health.Progressing}},
			want:    health.Summary{Status: health.Degraded, Object: id("b"), Message: "broken", Total: 3, Progressing: 1, Degraded: 1},
			line:    "ConfigMap web/b: Degraded, broken (0 of 3 objects healthy)",
		},
		"missing is worse than unknown, unknown than progressing": {
			reports: map[object.ID]health.Report{id("a"): {Status: health.Progressing}, id("b"): {}, id("c"): {Status: health.Missing}},
			want:    health.Summary{Status: health.Missing, Object: id("c"), Total: 3, Progressing: 1},
			line:    "ConfigMap web/c: Missing (0 of 3 objects healthy)",
		},
		"of equals the first by name decides": {
			reports: map[object.ID]health.Report{id("z"): {Status: health.Progressing, Message: "z"}, id("b"): {Status: health.Progressing, Message: "b"}, id("m"): {Status: health.Healthy}},
			want:    health.Summary{Status: health.Progressing, Object: id("b"), Message: "b", Total: 3, Healthy: 1, Progressing: 2},
			line:    "ConfigMap web/b: Progressing, b (1 of 3 objects healthy)",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := health.Worst(tt.reports)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if got.Describe() != tt.line {
				t.Errorf("described as %q", got.Describe())
			}
		})
	}
}

// FuzzOf feeds custom resources of any shape: a controller may write anything.
func FuzzOf(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		b, err := yaml.YAMLToJSON(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"object":{"apiVersion":"v1","kind":"Pod","status":{"phase":"Running","containerStatuses":[1,{"state":{"waiting":3}}]}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var u unstructured.Unstructured
		if u.UnmarshalJSON(append([]byte(`{"apiVersion":"v1","kind":"Case","content":`), append(b, '}')...)) != nil {
			return
		}
		content, found, err := unstructured.NestedMap(u.Object, "content", "object")
		if found && err == nil {
			_ = health.Of(&unstructured.Unstructured{Object: content}).Status.String()
		}
	})
}
